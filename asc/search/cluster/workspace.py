"""The folder in which a trial trains: in the run folder or, if the run is in a bucket, a scratch folder on its node.

A trial may resume on another node, so its checkpoint is fetched from the bucket at the start. After each epoch it is
uploaded before the driver is told, so the checkpoint of every journalled epoch exists.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from asc.atomic_folder import scratch_folder
from asc.model_file.tensors import write_bytes
from asc.run_files import BEST_EPOCH, LAST_EPOCH, MODEL_FILE
from asc.runs.bucket import Bucket, patiently

# After this long without the bucket the search is halted; it can be resumed when the bucket is back.
OUTAGE_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The folder to train in. `sent` maps names to the file contents that the bucket already has."""

    folder: Path
    bucket: Bucket | None
    sent: dict[str, bytes] = field(default_factory=dict)

    def keep(self) -> None:
        """Upload the changed files to the bucket, if there is one.

        Raises:
            StorageError: the bucket could not be reached for `OUTAGE_S` seconds.
        """
        if self.bucket is None:
            return
        for name in (
            BEST_EPOCH,
            LAST_EPOCH,
            MODEL_FILE,
        ):  # BEST_EPOCH is never older than what names it
            data = _read(self.folder / name)
            if data is not None and data != self.sent.get(name):
                _put(self.bucket, name, data)
                self.sent[name] = data


@contextmanager
def workspace(folder: Path, bucket: Bucket | None, *, scratch: Path) -> Iterator[Workspace]:
    """`folder` if there is no bucket, else a temporary folder under `scratch` with the trial's checkpoint.

    Raises:
        StorageError: the bucket could not be reached for `OUTAGE_S` seconds.
        OSError: the folder cannot be written, or its disk is full.
    """
    if bucket is None:
        yield Workspace(folder=folder, bucket=None)
        return
    with scratch_folder(scratch) as place:
        sent = {name: data for name in (LAST_EPOCH, BEST_EPOCH) if (data := _got(bucket, name)) is not None}
        for name, data in sent.items():
            write_bytes(place / name, data)
        yield Workspace(folder=place, bucket=bucket, sent=sent)


def _got(bucket: Bucket, name: str) -> bytes | None:
    return patiently(lambda: bucket.get(name), limit_s=OUTAGE_S)


def _put(bucket: Bucket, name: str, data: bytes) -> None:
    patiently(lambda: bucket.put(name, data), limit_s=OUTAGE_S)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
