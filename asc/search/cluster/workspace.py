"""Where a trial trains: its folder in the run's, or, where the run lies in a bucket, a scratch folder on its node.

A trial may go on on another node, so its checkpoint is fetched from the bucket when it begins, and uploaded after each
epoch before the driver hears of it: what the journal says of an epoch is always there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from asc.atomic_folder import scratch_folder
from asc.model_file.tensors import write_bytes
from asc.run_files import BEST_EPOCH, LAST_EPOCH, MODEL_FILE
from asc.runs.bucket import Bucket, patiently

# After this long without the bucket the search is halted, to be resumed when it is back.
OUTAGE_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The folder to train in; `sent` is what the bucket has of it, by name."""

    folder: Path
    bucket: Bucket | None
    sent: dict[str, bytes] = field(default_factory=dict)

    def keep(self) -> None:
        """Bring the bucket up to date, if there is one.

        Raises:
            StorageError: it was out of reach for `OUTAGE_S` seconds.
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
    """`folder` where there is no `bucket` of this trial, else a folder below `scratch` with the trial's checkpoint.

    Raises:
        StorageError: the bucket was out of reach for `OUTAGE_S` seconds.
        OSError: no room for the folder, or no right to write.
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
