"""Shows progress: a bar while files are processed, and a line per epoch; without a terminal, plain lines only."""

import contextlib
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from asc.config.experiment import Experiment
from asc.training_results import EpochMetrics


@contextlib.contextmanager
def packing(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Yield the progress callback of `counting` for packing audio."""
    with counting(console, "packing audio") as progress:
        yield progress


@contextlib.contextmanager
def counting(console: Console, doing: str, things: str = "clips") -> Iterator[Callable[[int, int], None]]:
    """Yield a `progress(done, total)` of `things`, which draws a bar; without a terminal it prints start and end."""
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            if not console.is_terminal and done in (1, total):
                console.print(f"{doing}: {done} of {total} {things}", markup=False)

        yield progress


@contextlib.contextmanager
def transfers(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a `progress(what, bytes_done, bytes_total)`, which draws a bar for each `what`.

    Without a terminal it prints a line for each quarter done.
    """
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


class LiveLine:
    """A context manager that keeps a line at the bottom of a terminal; without a terminal it shows nothing."""

    def __init__(self, console: Console) -> None:
        """Prepare a line that shows what `_view` returns, updated twice a second."""
        self._console = console
        self._live: Live | None = None

    def _view(self) -> RenderableType:
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Start the line if the output is a terminal."""
        if self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._view, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the line; printed lines stay."""
        if self._live is not None:
            self._live.stop()


class EpochLines(LiveLine):
    """Prints each epoch of a training; in a terminal, a line below shows the progress and the time left.

    It is a context manager, and is called with every epoch.
    """

    def __init__(
        self, console: Console, experiment: Experiment, *, history: Sequence[EpochMetrics] = (), held_out: bool = True
    ) -> None:
        """`history` has the earlier epochs of a resumed training; without `held_out` clips the last epoch is best."""
        self._schedule = experiment.schedule
        self._clips = "validation" if held_out else "validation (clips that are trained on)"
        self._counted_from = experiment.first_kept_epoch if held_out else experiment.schedule.epochs
        self._started = self._first_ended = time.monotonic()
        self._first: int | None = None
        self._last: EpochMetrics | None = None
        self._best: EpochMetrics | None = None
        for metrics in history:
            self._compare(metrics)
        super().__init__(console)

    def __call__(self, metrics: EpochMetrics) -> None:
        """Print the line of an epoch."""
        if self._first is None:
            self._first, self._first_ended = metrics.epoch - 1, time.monotonic()
        self._last = metrics
        self._compare(metrics)
        self._console.print(
            f"[{metrics.epoch}/{self._schedule.epochs}] lr {metrics.learning_rate:.2e}, "
            f"train loss {metrics.train_loss:.3f}, {self._clips} log loss {metrics.valid_log_loss:.3f}, "
            f"accuracy {metrics.valid_accuracy:.1%}, {metrics.seconds:.1f} s, about {clock(self._left())} left",
            markup=False,
        )

    def _compare(self, metrics: EpochMetrics) -> None:
        better = self._best is None or metrics.valid_log_loss <= self._best.valid_log_loss
        if better and metrics.epoch >= self._counted_from:
            self._best = metrics

    def _left(self) -> float:
        """Estimate the seconds left from the epochs that this process has trained.

        The first one is left out as soon as there are others: it takes longer, because nothing is warm.
        """
        assert self._last is not None and self._first is not None
        trained, now = self._last.epoch - self._first, time.monotonic()
        each = now - self._started if trained == 1 else (now - self._first_ended) / (trained - 1)
        return each * (self._schedule.epochs - self._last.epoch)

    def _view(self) -> Text:
        if self._last is None:
            return Text(f"first epoch: {clock(time.monotonic() - self._started)}")
        schedule, epoch = self._schedule, min(self._last.epoch + 1, self._schedule.epochs)
        cycle = bisect_left(schedule.cycle_ends, epoch) + 1
        best = f"best epoch {self._best.epoch}: log loss {self._best.valid_log_loss:.3f} \u00b7 " if self._best else ""
        return Text(
            f"cycle {cycle} of {schedule.cycles}, epoch {epoch} of {schedule.epochs} \u00b7 {best}"
            f"about {clock(self._left())} left"
        )


def clock(seconds: float) -> str:
    """Format seconds as `1 h 05 min`, `3 min 20 s` or `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
