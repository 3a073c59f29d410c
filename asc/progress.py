"""Progress for people: a bar while files are worked on, a line for each epoch; plain lines without a terminal."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from asc.results import EpochMetrics


@contextlib.contextmanager
def packing(console: Console) -> Iterator[Callable[[int, int], None]]:
    """`counting` while audio is packed."""
    with counting(console, "packing audio") as progress:
        yield progress


@contextlib.contextmanager
def counting(console: Console, doing: str) -> Iterator[Callable[[int, int], None]]:
    """A `progress(done, total)` of clips that draws a bar in a terminal, and says start and end elsewhere."""
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            if not console.is_terminal and done in (1, total):
                console.print(f"{doing}: {done} of {total} clips", markup=False)

        yield progress


@contextlib.contextmanager
def transfers(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A `progress(what, bytes done, bytes in all)` with a bar for each `what`; a line for each quarter elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        tasks = {}
        said: tuple[str, int] | None = None

        def progress(what: str, done: int, total: int) -> None:
            nonlocal said
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)
            quarter = (what, 4 * done // max(total, 1))
            if not console.is_terminal and quarter != said:
                said = quarter
                console.print(f"{what}: {done:,} of {total:,} bytes", markup=False)

        yield progress


class EpochLines:
    """Prints each epoch of one training with the time that is left."""

    def __init__(self, console: Console, epochs: int) -> None:
        """`epochs` of the whole schedule."""
        self._console, self._epochs = console, epochs
        self._started = time.monotonic()
        self._first: int | None = None

    def __call__(self, metrics: EpochMetrics) -> None:
        """Print an epoch."""
        if self._first is None:
            self._first = metrics.epoch - 1
        trained = metrics.epoch - self._first
        left = (time.monotonic() - self._started) / trained * (self._epochs - metrics.epoch)
        self._console.print(
            f"[{metrics.epoch}/{self._epochs}] lr {metrics.learning_rate:.2e}, train loss {metrics.train_loss:.3f}, "
            f"validation log loss {metrics.valid_log_loss:.3f}, accuracy {metrics.valid_accuracy:.1%}, "
            f"{metrics.seconds:.1f} s, about {clock(left)} left",
            markup=False,
        )


def clock(seconds: float) -> str:
    """Seconds as `1 h 05 min`, `3 min 20 s` or `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
