"""The index of a packed store: the position of each clip in `audio.i16`, and its gain."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

AUDIO_FILE = "audio.i16"
INDEX_FILE = "index.json"
SAMPLE_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Per clip, in manifest order: the index of its first sample, its length in samples, and its gain.

    A sample is the stored integer times the gain.
    """

    offsets: tuple[int, ...]
    samples: tuple[int, ...]
    gains: tuple[float, ...]

    def to_json(self) -> str:
        """Return JSON text for `read_index`."""
        return json.dumps(asdict(self))


def read_index(folder: Path) -> Index | None:
    """Read the index of the store in `folder`; None if there is no store or it is incomplete."""
    try:
        tree = json.loads((folder / INDEX_FILE).read_text("utf-8"))
        index = Index(**{key: tuple(values) for key, values in tree.items()})
        size_bytes = (folder / AUDIO_FILE).stat().st_size
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    whole = len(index.offsets) == len(index.samples) == len(index.gains)
    return index if whole and size_bytes == SAMPLE_BYTES * sum(index.samples) else None
