"""Notes on levels: silence, channels that cancel, 24 bits in the low end of 32."""

import pytest

from asc.audio.level_notes import Levels, is_quiet, level_note


@pytest.mark.parametrize(
    ("peak", "loudest", "words"),
    [
        (0.0, 0.0, "silent"),
        (2.0**-15, 2.0**-15, "silent"),
        (2.0**-14, 2.0**-14, None),
        (0.0, 0.5, "cancel"),
        (0.004, 0.5, "cancel"),
        (0.01, 0.5, None),
        (0.5, 0.5, None),
    ],
)
def test_the_note_on_one_recording(peak: float, loudest: float, words: str | None) -> None:
    note = level_note(peak, loudest)
    assert note is None if words is None else note is not None and words in note


def test_quiet_covers_24_bits_in_the_low_end_of_32() -> None:
    assert is_quiet((2**23 - 1) / 2**31) and not is_quiet(0.004)


def test_a_set_has_one_line_per_kind_of_note() -> None:
    levels = Levels()
    assert levels.lines() == ()
    for name, peak, loudest in (("a", 0.0, 0.0), ("b", 0.5, 0.5), ("c", 0.003, 0.003), ("d", 0.0, 0.1)):
        levels.add(name, peak, loudest)
    for number in range(4):
        levels.add(f"e{number}", 0.001, 0.001)
    silent, cancelled, quiet = levels.lines()
    assert silent == "1 clip silent: a"
    assert cancelled == "1 clip with channels that cancel each other (opposite phase): d"
    assert quiet.startswith("5 clips with a peak below -48 dBFS") and quiet.endswith(": c, e0, e1 and 2 more")
