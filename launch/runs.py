"""List runs: their data, limit, best figures, state and size on disk; remove packed audio that no run uses.

python launch/runs.py
python launch/runs.py --prune-cache
"""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from asc.console import cli
from asc.errors import InputError, some

if TYPE_CHECKING:
    from asc.runs.packed_audio import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """List the runs of a folder or bucket, the latest first.

    A run that is "not ended" was killed and can be resumed (in a bucket it may still run). The figures are those of its
    best trial on validation.
    """

    storage: Annotated[str, cli.option("DIR|s3://BUCKET/PREFIX")] = "runs"
    """Folder or bucket of the runs."""
    prune_cache: bool = False
    """Remove the packed audio that none of these runs uses, after asking. Runs that need it again pack it again."""
    yes: bool = False
    """Do not ask."""
    cache: Annotated[Path | None, cli.option("DIR")] = None
    """Folder of the packed audio; by default ASC_CACHE or ~/.cache/asc."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(options: Options) -> int:
    """Print the runs, and remove unused packed audio if asked to.

    Raises:
        InputError: the storage is a bucket and the cache is to be pruned, or nobody can be asked.
        StorageError: the bucket cannot be reached.
    """
    from asc.console.sheet import as_table
    from asc.runs import listing

    output = cli.Output(as_json=options.json)
    runs = listing.runs_of(options.storage)
    output.result(as_table(listing.sheet(runs, options.storage)) if runs else f"{options.storage} has no runs yet")
    output.notes(f"{run.name}: {run.problem}" for run in runs if run.problem)
    damaged = [f"{run.name}: its journal is damaged" for run in runs if run.problem]
    removed = _pruned(options, output, damaged) if options.prune_cache else []
    output.json({"runs": [dataclasses.asdict(run) for run in runs], "removed": removed})
    return cli.DONE


def _pruned(options: Options, output: cli.Output, damaged: list[str]) -> list[str]:
    """Remove the packed audio that no run uses, and return the names of its folders."""
    from asc.data.dataset import default_cache
    from asc.runs import listing, packed_audio
    from asc.runs.storage import is_remote

    if is_remote(options.storage):
        raise InputError("--prune-cache looks at the runs of a folder: give --storage DIR")
    if not Path(options.storage).is_dir():
        raise InputError(f"{options.storage} is no folder, so what runs use is not known: give --storage DIR")
    cache = (options.cache or default_cache()).resolve()
    found = packed_audio.usage(cache, listing.records_of(Path(options.storage)))
    output.notes(found.unknown)
    for one in found.packed:
        users = ", ".join(one.used_by) or "no run here"
        output.result(f"{one.folder}: {listing.megabytes(one.size_bytes)}, used by {users}")
    if not found.unused:
        output.result(f"{cache} has no packed audio that no run uses")
        return []
    doubtful = [*damaged, *found.unknown]
    if not (_agreed(found, options.storage, doubtful) if doubtful or not options.yes else True):
        output.result("nothing was removed")
        return []
    for one in found.unused:
        packed_audio.remove(one)
    output.result(f"removed {listing.megabytes(sum(one.size_bytes for one in found.unused))}")
    return [one.folder.name for one in found.unused]


def _agreed(found: "Usage", storage: str, doubtful: list[str]) -> bool:
    """Ask at the terminal; if the data of some runs are not known, even --yes is not enough."""
    from asc.runs.listing import megabytes

    if not sys.stdin.isatty() and doubtful:
        raise InputError(f"somebody must agree at a terminal, for what some runs use is not known: {some(doubtful)}")
    if not sys.stdin.isatty():
        raise InputError("--prune-cache asks before it removes anything, but nobody is at the terminal: give --yes")
    size = megabytes(sum(one.size_bytes for one in found.unused))
    print(f"Remove {size} that no run in {storage} uses? Runs elsewhere may use it. [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


if __name__ == "__main__":
    cli.launch(main, Options)
