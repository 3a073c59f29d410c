"""What `asc.search` and `asc.train` return: the run's folder, and what its journal says, as Python objects."""

import functools
import html
from dataclasses import dataclass
from pathlib import Path

import pandas

from asc.config.experiment import Experiment
from asc.errors import InputError, counted
from asc.inference.predict import Model, load
from asc.launchers import command
from asc.model_file.tensors import write_bytes
from asc.report.page import doubts, search_page
from asc.results import Evaluation, Interval
from asc.run_files import JOURNAL, REPORT_PAGE
from asc.runs import named
from asc.runs.events import RunEnded
from asc.runs.journal import read_journal
from asc.runs.record import RunRecord, fold
from asc.search.leaderboard import Row, flat_row, leaderboard
from asc.search.opening import resumed_space
from asc.size.rules import counted_bytes, rule

_SHOWN = ["rank", "outcome", "log_loss", "accuracy", "predicted_bytes", "macs_per_second", "epochs"]


@dataclass(frozen=True)
class SearchResult:
    """A search, finished or not, as its folder stands; `asc.search` returns it, and `SearchResult.of(NAME)` opens one.

    In a notebook it shows its leaderboard.
    """

    folder: Path

    @staticmethod
    def of(name: str | Path) -> "SearchResult":
        """Open a search by its name in runs/, or by its folder.

        Raises:
            InputError: there is no such search.
        """
        for folder in (Path(name), named.RUNS / name):
            if (folder / JOURNAL).is_file():
                result = SearchResult(folder)
                if result._record.started.kind != "search":
                    raise InputError(f"{name} is a training, not a search: open it with asc.load")
                return result
        raise InputError(f"{name} is no search: {named.known()}")

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.folder.name

    @functools.cached_property
    def leaderboard(self) -> pandas.DataFrame:
        """A row for each trial, best first, indexed by its name; the columns are those of leaderboard.csv."""
        rows = [flat_row(row) for row in self._rows]
        return pandas.DataFrame(rows, columns=None if rows else ["trial", *_SHOWN]).set_index("trial")

    @functools.cached_property
    def best(self) -> Model:
        """The best network, ready to predict; `asc.load("NAME/t005")` loads that of another trial.

        Raises:
            InputError: no trial has completed yet.
        """
        return load(named.model_file(self.folder))

    @property
    def config(self) -> Experiment:
        """The config of the best network. Raises as `best`."""
        found = named.config(str(self.folder))
        assert found is not None, "the folder has a journal"
        return found

    @property
    def doubts(self) -> list[str]:
        """Reasons to doubt the best network, one sentence each."""
        return doubts(read_journal(self.folder / JOURNAL), self.folder)

    def report(self) -> Path:
        """The report page, one file for a browser; it is written again unless the search has ended and has written it.

        Raises:
            InputError: the journal is damaged.
            OSError: the page cannot be written.
        """
        page = self.folder / REPORT_PAGE
        entries = read_journal(self.folder / JOURNAL)
        if not page.is_file() or not isinstance(entries[-1].event, RunEnded):
            write_bytes(page, search_page(entries, self.folder))
        return page

    def __repr__(self) -> str:
        """How many trials there are, and the best."""
        return f"<search {self.name}: {self._summary()}>"

    def _repr_html_(self) -> str:
        """The same and the leaderboard, for notebooks."""
        best = "" if self._record.completed() else f" ({command('search')} --resume {self.name} goes on)"
        lead = html.escape(f"search {self.name}: {self._summary()}{best}")
        table: str = self.leaderboard[_SHOWN].to_html(max_rows=20, na_rep="", float_format="{:.3f}".format)
        return f"<p>{lead}</p>{table}"

    def _summary(self) -> str:
        record = self._record
        completed = record.completed()
        said = f"{counted(len(record.trials), 'trial')}, {len(completed)} completed, "
        if not completed or completed[0].ended is None:
            return said + "none is best yet"
        best, by = completed[0], rule(str(record.started.settings["rule"]))
        kilobytes = counted_bytes(by, best.asked.predicted) / by.unit_bytes
        ended = completed[0].ended
        log_loss = f"log loss {ended.log_loss:.3f}{_between(ended.log_loss_interval, '.3f')}"
        accuracy = f"accuracy {ended.accuracy:.1%}{_between(ended.accuracy_interval, '.1%')}"
        return f"{said}best {best.asked.trial} with {log_loss}, {accuracy} on valid, {kilobytes:.1f} KB"

    @functools.cached_property
    def _record(self) -> RunRecord:
        return fold(read_journal(self.folder / JOURNAL))

    @property
    def _rows(self) -> list[Row]:
        record = self._record
        return leaderboard(record, resumed_space(record), rule(str(record.started.settings["rule"])))


@dataclass(frozen=True)
class TrainResult:
    """A completed training; `asc.train` returns it."""

    folder: Path
    evaluation: Evaluation
    """The stored network on the validation split."""

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.folder.name

    @property
    def log_loss(self) -> float:
        """The macro log loss on validation, in nats."""
        return self.evaluation.log_loss

    @property
    def accuracy(self) -> float:
        """The macro accuracy on validation, from 0 to 1."""
        return self.evaluation.accuracy

    @functools.cached_property
    def history(self) -> pandas.DataFrame:
        """A row for each epoch: learning rate, training loss, validation log loss and accuracy, seconds."""
        (trial,) = fold(read_journal(self.folder / JOURNAL)).trials.values()
        rows = [metrics for _, metrics in sorted(trial.epochs.items())]
        return pandas.DataFrame(rows).set_index("epoch")

    @functools.cached_property
    def best(self) -> Model:
        """The stored network, ready to predict."""
        return load(named.model_file(self.folder))

    def __repr__(self) -> str:
        """Its figures on validation."""
        intervals = self.evaluation.intervals
        log_loss, accuracy = (None, None) if intervals is None else (intervals.log_loss, intervals.accuracy)
        return (
            f"<training {self.name}: log loss {self.log_loss:.3f}{_between(log_loss, '.3f')}, accuracy "
            f"{self.accuracy:.1%}{_between(accuracy, '.1%')} on valid>"
        )


def _between(interval: Interval | None, form: str) -> str:
    return "" if interval is None else f" ({interval.low:{form}} to {interval.high:{form}})"
