"""How a search ended: its exit code, and one sentence if something is wrong."""

from asc.console import cli
from asc.runs.record import TrialRecord
from asc.search.next_commands import then_resume
from asc.search.summary import Summary

# The first words of reasons that are not a fault of asc.
_OF_THE_MACHINE = ("it ran out of memory", "memory ran short", "its worker process died")


def exit_code(summary: Summary, problem: str | None) -> int:
    """Say what is wrong, if anything is; return the exit code. `problem` is why the search was halted."""
    code, sentence = verdict(summary, problem)
    if sentence is not None:
        cli.complain(sentence)
    return code


def verdict(summary: Summary, problem: str | None) -> tuple[int, str | None]:
    """The exit code, and one sentence that says what is wrong, if anything is (`problem` as in `exit_code`)."""
    if summary.ending == "halted":
        return cli.WRONG_INPUT, then_resume(problem or "", summary.folder)
    if summary.ending == "interrupted":
        return cli.INTERRUPTED, None
    if summary.best is None:
        return _without_network(summary)
    return (cli.DONE, None) if summary.page.problem is None else (cli.WRONG_INPUT, summary.page.problem)


def _without_network(summary: Summary) -> tuple[int, str]:
    """The exit code, 1 if asc is at fault, and one sentence that says why the search found no network."""
    if not summary.trials:
        what = "no point of the space is within the budget: raise --budget-kb or widen the space"
    elif summary.ending == "out of time":
        what = then_resume("time was up before a trial was trained to its end", summary.folder)
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
