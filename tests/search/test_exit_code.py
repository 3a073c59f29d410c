"""The exit code of a search, and the sentence that goes with it."""

from pathlib import Path

from asc.runs.events import Event, TrialAsked, TrialEnded, TrialRetried
from asc.runs.record import TrialRecord
from asc.search.cluster.study import Ending
from asc.search.exit_code import verdict
from asc.search.summary import Summary
from asc.size.rules import rule
from asc.training_results import OutcomeKind


def test_a_search_without_a_network_says_why_and_exits_with_1_only_for_a_fault_of_asc(
    story: list[Event], tmp_path: Path
) -> None:
    asked = next(event for event in story if isinstance(event, TrialAsked))

    def said(
        ending: Ending, outcome: OutcomeKind | None, reason: str, retried: str | None = None
    ) -> tuple[int, str | None]:
        trial = TrialRecord(asked=asked, asked_at_s=0.0, number=0)
        if retried is not None:
            trial.retries.append(TrialRetried(trial=asked.trial, epoch=0, reason=retried))
        if outcome is not None:
            trial.ended = TrialEnded(trial=asked.trial, outcome=outcome, epochs=1, seconds=1.0, reason=reason)
        trials = () if outcome is None and not reason else (trial,)
        summary = Summary(
            ending=ending, folder=tmp_path, rule=rule("file"), rows=[], trials=trials, best=None, reference=None
        )
        return verdict(summary, None)

    untrained, died = (
        "no trial was trained to its end: ",
        "its worker process died (killed, or its node is gone)",
    )
    assert said("finished", "failed", "key x: make it 1") == (2, f"{untrained}key x: make it 1")
    assert said("finished", "failed", died, died) == (2, f"{untrained}{died}")
    assert said("finished", "failed", "KeyError: 1", "KeyError: 1") == (1, f"{untrained}KeyError: 1")
    code, why = said("finished", "diverged", "the loss was no longer a number in epoch 1")
    assert code == 2 and str(why).endswith("epoch 1; make schedule.learning_rate_max smaller in the space")
    code, why = said("out of time", None, "unfinished")
    assert code == 2 and "time was up before a trial was trained to its end; then resume with: python launch/" in str(
        why
    )
    code, why = said("halted", None, "")
    assert code == 2 and str(why).startswith("resume with: python launch/"), "without a reason it is still a sentence"
    code, why = said("finished", None, "")
    assert code == 2 and "no point of the space is within the budget" in str(why)
