"""The table of a packed store: where in `audio.i16` each clip lies, and its gain."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

AUDIO_FILE = "audio.i16"
INDEX_FILE = "index.json"
SAMPLE_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A value per clip, in the order of the manifest: the first sample, the number of samples, and the gain.

    A stored integer times the gain is the sample.
    """

    offsets: tuple[int, ...]
    samples: tuple[int, ...]
    gains: tuple[float, ...]

    def to_json(self) -> str:
        """Text that `read_index` reads back."""
        return json.dumps(asdict(self))


def read_index(folder: Path) -> Index | None:
    """The index of the store in `folder`; None when there is no store, or it is not whole."""
    try:
        tree = json.loads((folder / INDEX_FILE).read_text("utf-8"))
        index = Index(**{key: tuple(values) for key, values in tree.items()})
        size_bytes = (folder / AUDIO_FILE).stat().st_size
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    whole = len(index.offsets) == len(index.samples) == len(index.gains)
    return index if whole and size_bytes == SAMPLE_BYTES * sum(index.samples) else None
