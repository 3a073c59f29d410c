"""The results of a search: the best network, what it gained and what it demands, in sentences and as JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asc.config.experiment import Experiment
from asc.run_files import BEST_FOLDER, JOURNAL, LEADERBOARD_CSV, LEADERBOARD_JSON, MODEL_FILE, REPORT_PAGE
from asc.runs.finals import Finals
from asc.runs.folder import best_folder
from asc.runs.record import TrialRecord
from asc.search.budget_table import BestWithin, within_json
from asc.search.cluster.study import Ending
from asc.search.finalists import finals_json
from asc.search.front_table import OnFront, front_json
from asc.search.leaderboard import Row, as_json
from asc.search.result_page import NO_PAGE, Page
from asc.search.settings import SearchSettings
from asc.size.law import Cost, cost
from asc.size.rules import Rule, counted_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The results: the ranking, and the best trial and trial 0 if completed. Bytes are counted by `rule`.

    `finals` is None without finalists. With a winner among them, that is what lies in `best/`. `page` says where the
    report page is, or why it could not be written. `within` has the best within each of several budgets, and `front`
    the Pareto front of several objectives.
    """

    ending: Ending
    folder: Path
    rule: Rule
    rows: list[Row]
    trials: tuple[TrialRecord, ...]
    best: TrialRecord | None
    reference: TrialRecord | None
    finals: Finals | None = None
    page: Page = NO_PAGE
    within: tuple[BestWithin, ...] = ()
    front: tuple[OnFront, ...] = ()

    @property
    def saved(self) -> TrialRecord | None:
        """The training whose model is in `best/`: the final that is shipped, else the best trial."""
        shipped = None if self.finals is None else self.finals.shipped
        return self.best if shipped is None else shipped.training

    def best_cost(self) -> Cost:
        """The size and compute cost of the best network."""
        assert self.saved is not None, "ask only where there is a best trial"
        experiment = Experiment.from_flat(self.saved.asked.config)
        return cost(experiment)

    def demands(self) -> str:
        """What the network in `best/` demands, in one line: bytes under the rule and in its file, MACs, memory."""
        assert self.saved is not None, "ask only where there is a best trial"
        asked, mmacs = self.saved.asked, self.saved.asked.macs_per_second / 1e6
        return (
            f"{asked.trial} takes {counted_bytes(self.rule, asked.predicted) / self.rule.unit_bytes:.1f} KB under "
            f"{self.rule.name}, {asked.file_bytes:,} bytes as a file, {mmacs:.1f} MMAC per second of audio, and "
            f"{asked.peak_activation_bytes / 1024:,.0f} KB of RAM at the peak (for 10 s)"
        )

    def files(self) -> list[str]:
        """The names of the result files in the folder, to print."""
        best = [f"{BEST_FOLDER}/"] if self.best is not None else []
        best += [f"{best_folder(one.budget_kb)}/" for one in self.within if one.trial is not None]
        return [JOURNAL, LEADERBOARD_CSV, LEADERBOARD_JSON, *best, *([REPORT_PAGE] if self.page.path else [])]

    def last_reason(self) -> str:
        """Why the last incomplete trial ended."""
        reasons = [trial.ended.reason for trial in self.trials if trial.ended is not None and trial.ended.reason]
        return reasons[-1] if reasons else "no trial has ended"

    def gained(self) -> str:
        """What the best trial gained over the reference and what it lost, in one sentence."""
        if self.best is None or self.best.ended is None or self.best.ended.log_loss is None:
            return f"no trial was trained to its end: {self.last_reason()}"
        if self.reference is None or self.reference.ended is None or self.reference.ended.log_loss is None:
            return "the reference (trial 0) was not trained to its end, so there is nothing to compare with"
        if self.best is self.reference:
            return "no trial beat the reference (trial 0)"
        best, reference = self.best.ended, self.reference.ended
        before, after = (counted_bytes(self.rule, trial.asked.predicted) for trial in (self.reference, self.best))
        assert best.log_loss is not None and best.accuracy is not None
        assert reference.log_loss is not None and reference.accuracy is not None
        beside = "gained over the reference (trial 0):"
        if best.log_loss > reference.log_loss:
            beside = "a better accuracy than the reference (trial 0), but a higher log loss:"
        elif best.accuracy < reference.accuracy:
            beside = "a better log loss than the reference (trial 0), but a lower accuracy:"
        return (
            f"{beside} log loss {reference.log_loss:.3f} -> {best.log_loss:.3f}, accuracy "
            f"{reference.accuracy:.1%} -> {best.accuracy:.1%}, bytes {before:,} -> {after:,}"
        )


def summary_json(summary: Summary, settings: SearchSettings) -> dict[str, Any]:
    """The results as one JSON object."""
    saved = summary.saved
    best = saved.ended if saved else None
    return {
        "name": summary.folder.name,
        "folder": str(summary.folder),
        "ending": summary.ending,
        "report": None if summary.page.path is None else str(summary.page.path),
        "budget_kb": settings.budget_kb,
        "rule": settings.rule,
        "best": None
        if best is None or saved is None
        else {
            "trial": best.trial,
            "log_loss": best.log_loss,
            "accuracy": best.accuracy,
            "size_bytes": saved.asked.size_bytes,
            "nonzero_bytes": saved.asked.nonzero_bytes,
            "file_bytes": saved.asked.file_bytes,
            "model": str(summary.folder / BEST_FOLDER / MODEL_FILE),
        },
        **({} if summary.finals is None else {"finalists": finals_json(summary.finals)}),
        **({} if not summary.within else {"budgets": [within_json(one, summary.folder) for one in summary.within]}),
        **({} if not summary.front else {"front": [front_json(one, summary.folder) for one in summary.front]}),
        "trials": as_json(summary.rows),
    }
