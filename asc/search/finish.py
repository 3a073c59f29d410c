"""The end of a search: leaderboard files, the best network under `best/`, and the messages for the user."""

import contextlib
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from asc.config.experiment import Experiment
from asc.config.space import Space
from asc.console import cli
from asc.errors import InputError
from asc.launchers import command
from asc.model_file.tensors import write_bytes
from asc.run_files import (
    BEST_FOLDER,
    CONFIG_FILE,
    JOURNAL,
    LEADERBOARD_CSV,
    LEADERBOARD_JSON,
    MODEL_FILE,
    REPORT_PAGE,
)
from asc.runs.bucket import Bucket, patiently, run_bucket, storage_option
from asc.runs.events import RunEnded
from asc.runs.finals import Finals, finals_of
from asc.runs.folder import best_folder, publish
from asc.runs.record import TrialRecord
from asc.search.budget_table import BestWithin, best_within, within_json
from asc.search.cluster.study import Ending
from asc.search.conductor import Conductor
from asc.search.finalists import finals_json
from asc.search.leaderboard import Row, as_json, leaderboard, write
from asc.search.plan import SearchPlan
from asc.search.result_page import NO_PAGE, Page, PageOf, with_page
from asc.search.settings import SearchSettings, resume_command, settings_of
from asc.size.law import Cost, cost
from asc.size.rules import Rule, counted_bytes

_OUTAGE_S = 120.0
# The first words of reasons that are not a fault of asc.
_OF_THE_MACHINE = ("it ran out of memory", "memory ran short", "its worker process died")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The results: the ranking, and the best trial and trial 0 if completed. Bytes are counted by `rule`.

    `finals` is None without finalists. With a winner among them, that is what lies in `best/`. `page` says where the
    report page is, or why it could not be written. `within` has the best within each of several budgets.
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


def finish(conductor: Conductor, space: Space, ending: Ending, rule: Rule, page_of: PageOf | None = None) -> Summary:
    """Write the leaderboard (bytes as `rule` counts them), the best network and the report page, then journal the end.

    A disk without space for the page takes nothing else from the search: the summary says so.

    Raises:
        InputError: the best trial's model file is missing, damaged, or in a bucket that cannot be reached. The end of
            the run is journalled first.
    """
    record, folder = conductor.record, conductor.journal.path.parent
    conductor.sweep()
    rows = leaderboard(record, space, rule)
    write(rows, folder)
    completed = record.completed()
    summary = Summary(
        ending=ending,
        folder=folder,
        rule=rule,
        rows=rows,
        trials=tuple(record.trials.values()),
        best=completed[0] if completed else None,
        reference=next((trial for trial in record.trials.values() if trial.asked.reference), None),
        finals=finals_of(record),
        within=best_within(record, rule, settings_of(record)),
    )
    saved = summary.saved
    if saved is not None and saved.ended is not None and saved.ended.model is not None:
        try:
            _publish(folder, saved.ended.model)
            for one in summary.within:
                if one.trial is not None and one.trial.ended is not None and one.trial.ended.model is not None:
                    publish(folder, folder / one.trial.ended.model, budget_kb=one.budget_kb)
        except InputError as error:
            conductor.journal.append(RunEnded(outcome="interrupted", best=None))
            what = conductor.problem or str(error)
            raise InputError(_then_resume(what, folder)) from error
    ended = RunEnded(
        outcome="finished" if ending == "finished" else "interrupted", best=saved.asked.trial if saved else None
    )
    return replace(summary, page=with_page(conductor.journal, ended, page_of))


@contextlib.contextmanager
def rescued(
    conductor: Conductor, plan: SearchPlan, say: Callable[[str], None], page_of: PageOf | None = None
) -> Iterator[None]:
    """If an exception ends the search early, write the results so far and say how to resume; then raise it again.

    The message appears even if the disk is full.
    """
    try:
        yield
    except BaseException:
        if conductor.record.ended is None:
            _rescue(conductor, plan, say, page_of)
        raise


def cut_off(conductor: Conductor, shown: contextlib.ExitStack, run: contextlib.ExitStack) -> NoReturn:
    """Close the contexts of the run, then end this process, from a thread, because dead Ray blocks the main thread.

    Without a problem, this process was asked to end, and Ray with it.
    """
    shown.close()
    code = cli.FAILED
    try:
        with run:
            if conductor.problem is None:
                raise KeyboardInterrupt
            raise InputError(_then_resume(conductor.problem, conductor.journal.path.parent))
    except KeyboardInterrupt:
        code = cli.INTERRUPTED
    except InputError as error:
        code = cli.complain(str(error))
    except Exception:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def _rescue(conductor: Conductor, plan: SearchPlan, say: Callable[[str], None], page_of: PageOf | None) -> None:
    folder = conductor.journal.path.parent
    lies = f"the results so far are in {folder}"
    try:
        summary = finish(conductor, plan.space, "interrupted", plan.budget.rule, page_of)
        lies += f": {', '.join(summary.files())}"
    except (OSError, InputError) as error:
        lies += f", without a leaderboard ({error.strerror if isinstance(error, OSError) else error})"
    say(f"{lies}; resume with: {resume_command(folder)}")


def _publish(folder: Path, model: str) -> None:
    if (bucket := run_bucket(folder)) is not None:
        _fetch(bucket, model, folder)
    publish(folder, folder / model)


def _fetch(bucket: Bucket, model: str, folder: Path) -> None:
    data = patiently(lambda: bucket.get(model), limit_s=_OUTAGE_S)
    if data is not None:
        write_bytes(folder / model, data)


def halted(summary: Summary, problem: str) -> str:
    """One sentence: why the search stopped, and how to resume it."""
    return _then_resume(problem, summary.folder)


def exit_code(summary: Summary, problem: str | None) -> int:
    """Say what is wrong, if anything is; return the exit code. `problem` is why the search was halted."""
    code, sentence = verdict(summary, problem)
    if sentence is not None:
        cli.complain(sentence)
    return code


def verdict(summary: Summary, problem: str | None) -> tuple[int, str | None]:
    """The exit code, and one sentence that says what is wrong, if anything is (`problem` as in `exit_code`)."""
    if summary.ending == "halted":
        return cli.WRONG_INPUT, halted(summary, problem or "")
    if summary.ending == "interrupted":
        return cli.INTERRUPTED, None
    if summary.best is None:
        return without_network(summary)
    return (cli.DONE, None) if summary.page.problem is None else (cli.WRONG_INPUT, summary.page.problem)


def without_network(summary: Summary) -> tuple[int, str]:
    """The exit code, 1 if asc is at fault, and one sentence that says why the search found no network."""
    if not summary.trials:
        what = "no point of the space is within the budget: raise --budget-kb or widen the space"
    elif summary.ending == "out of time":
        what = _then_resume("time was up before a trial was trained to its end", summary.folder)
    else:
        what = summary.gained()
        if {trial.ended.outcome for trial in summary.trials if trial.ended is not None} == {"diverged"}:
            what += "; make schedule.learning_rate_max smaller in the space"
    return cli.FAILED if any(map(_is_fault_of_ours, summary.trials)) else cli.WRONG_INPUT, what


def _is_fault_of_ours(trial: TrialRecord) -> bool:
    """Whether the worker raised the same error at each attempt. A config that is wrong fails without a retry."""
    ended, retries = trial.ended, trial.retries
    if ended is None or ended.outcome != "failed" or ended.reason is None or not retries:
        return False
    return retries[-1].reason == ended.reason and not ended.reason.startswith(_OF_THE_MACHINE)


def _then_resume(problem: str, folder: Path) -> str:
    return f"{problem + '; then ' if problem else ''}resume with: {resume_command(folder)}"


def commands(summary: Summary, settings: SearchSettings, browse: str) -> Iterator[tuple[str, str]]:
    """What to do next: pairs of a purpose and its command, most urgent first."""
    folder = summary.folder
    model, config = (shlex.quote(str(folder / BEST_FOLDER / name)) for name in (MODEL_FILE, CONFIG_FILE))
    storage, name = storage_option(folder), shlex.quote(f"{folder.name}-best")
    data = f"--data {shlex.quote(settings.data)}"
    fold = f" --fold {settings.fold}" if settings.fold != 1 else ""
    data += f" --device-irs {shlex.quote(settings.device_irs)}" if settings.device_irs else ""
    data += f" --augment-irs {shlex.quote(settings.augment_irs)}" if settings.augment_irs else ""
    groups = f" --group-from {shlex.quote(settings.group_from)}" if settings.group_from else ""
    held = f" --holdout-devices {shlex.quote(settings.holdout_devices)}" if settings.holdout_devices else ""
    data_seed = f" --data-seed {settings.data_seed}" if settings.data_seed else ""
    if summary.ending != "finished":
        yield "go on with the search", resume_command(folder)
    if summary.best is not None:
        if summary.saved is summary.best:
            yield (
                "train the best with the full schedule",
                f"{command('train')} --config {config} {data}{held}{groups}{fold}{data_seed}{storage} --name {name} "
                "--cycles 3 --epochs-per-cycle 120",
            )
        yield "measure it on the test split, once", f"{command('evaluate')} {model} {data} --split test"
        yield "label your own audio", f"{command('predict')} {model} FILE_OR_FOLDER"
        yield "export it to another runtime", f"{command('export')} {model}"
    yield "browse the trials", browse


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
        "trials": as_json(summary.rows),
    }
