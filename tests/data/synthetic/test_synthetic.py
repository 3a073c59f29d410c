"""The synthetic set: shaped like TAU, determined by its seed, with devices that only the test split has."""

from collections import Counter

import numpy as np
import pytest

from asc.config.data_choice import DataChoice
from asc.data.manifest import load_manifest
from asc.data.synthetic.synthetic import SAMPLE_RATE_HZ, Synthetic
from asc.data.synthetic.synthetic_scenes import SCENES, sweep
from asc.data.synthetic_sound import random_state
from asc.errors import InputError


def test_it_has_the_shape_of_tau() -> None:
    manifest = load_manifest(DataChoice("synthetic"))
    assert manifest.labels == (
        "airport",
        "bus",
        "metro",
        "metro_station",
        "park",
        "public_square",
        "shopping_mall",
        "street_pedestrian",
        "street_traffic",
        "tram",
    )
    learning = [clip for clip in manifest.clips if clip.split != "test"]
    test = [clip for clip in manifest.clips if clip.split == "test"]
    assert {clip.device for clip in learning} == {"a", "b", "c", "s1", "s2", "s3"}
    assert {clip.device for clip in test} == {"a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"}
    assert set(Counter(clip.label for clip in learning).values()) == {84}
    assert 0.70 <= sum(clip.device == "a" for clip in learning) / len(learning) <= 0.76
    assert len({clip.path for clip in manifest.clips}) == len(manifest.clips)
    count = Counter((clip.label, clip.split) for clip in manifest.clips)
    assert all(count[label, split] == 12 for label in manifest.labels for split in ("valid", "calibration"))


def test_the_seed_determines_the_bytes() -> None:
    small = Synthetic(clip_s=0.5, train_locations=1, test_locations=1)
    for row in small.rows()[:6]:
        first = small.render(row.path)
        assert first.shape == (SAMPLE_RATE_HZ // 2,) and first.dtype == np.float32
        assert first.tobytes() == Synthetic(clip_s=0.5, train_locations=7).render(row.path).tobytes()
        assert first.tobytes() != Synthetic(seed=1, clip_s=0.5).render(row.path).tobytes()


def test_clips_are_quiet_and_differ_by_device_and_time() -> None:
    small = Synthetic(clip_s=1.0)
    paths = [f"synthetic/park-loc00-{moment}-{device}" for moment in ("000", "001") for device in ("a", "s3", "s6")]
    clips = [small.render(path) for path in paths]
    levels_db = [20 * np.log10(np.sqrt(np.mean(clip**2))) for clip in clips]
    assert all(-66 < level < -34 for level in levels_db)
    turns = [np.exp(1j * np.angle(np.fft.rfft(clip)[100:5000])) for clip in clips]
    same_moment, other_moment = (abs(np.mean(turns[0] * np.conj(turns[other]))) for other in (1, 3))
    assert same_moment > 0.8 and other_moment < 0.1
    assert not np.allclose(clips[0] / np.std(clips[0]), clips[1] / np.std(clips[1]), atol=0.1)


def test_paired_scenes_have_one_event_in_both_directions() -> None:
    """Sweeps rise in one scene and fall in the other: the spectral centroid moves up or down within an event."""
    time_s = np.arange(round(0.25 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    sound = sweep(random_state("test"), 1.0, time_s)
    halves = np.abs(np.fft.rfft(sound[:11_000].reshape(2, -1)))
    frequencies = np.fft.rfftfreq(5_500, 1 / SAMPLE_RATE_HZ)
    first, second = (half**2 @ frequencies / np.sum(half**2) for half in halves)
    assert second > 1.3 * first
    assert [SCENES[name].event for name in ("metro", "metro_station")] == [sweep, sweep]
    assert SCENES["metro"].backwards != SCENES["metro_station"].backwards


@pytest.mark.parametrize("spec", ["synthetic:x", "synthetic:-1", "synthetic:1.5"])
def test_a_wrong_seed_is_refused(spec: str) -> None:
    with pytest.raises(InputError, match=f"data {spec}: the seed must be a whole number"):
        load_manifest(DataChoice(spec))


def test_it_has_one_fold() -> None:
    with pytest.raises(InputError, match="synthetic has fixed splits and so only fold 1"):
        load_manifest(DataChoice("synthetic", fold=2))


def test_a_path_that_is_not_synthetic_is_refused() -> None:
    with pytest.raises(ValueError, match="is not the path of a synthetic clip"):
        Synthetic().render("synthetic/beach-loc00-000-a")
