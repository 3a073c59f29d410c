"""The functions behind `asc.search`, `asc.train` and `asc.evaluate`.

They do what the launch scripts do, and return the results. A launch script ends in one sentence and an exit code; here
the same sentence is an exception.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from asc.api.evaluating import Evaluated, evaluated
from asc.api.keywords import (
    EvaluateKeywords,
    SearchKeywords,
    TrainKeywords,
    evaluate_options,
    search_options,
    train_options,
)
from asc.api.results import SearchResult, TrainResult
from asc.api.searching import check_process, prepared, searched
from asc.api.training import diverged, trained
from asc.console.cli import Output
from asc.errors import InputError
from asc.search.opening import released
from asc.training_results import Completed

if TYPE_CHECKING:
    from asc.search.summary import Summary


def search(quiet: bool, keywords: SearchKeywords) -> SearchResult:
    """Run a search, or go on with one; `quiet` prints nothing but warnings.

    Raises:
        InputError: something is wrong, or no network was found.
        KeyboardInterrupt: it was interrupted; the results so far are saved.
    """
    options, output = search_options(keywords), Output(as_json=True, quiet=quiet)
    options.check_run()
    ready = prepared(options, output)
    with released(ready.opened.journal):
        check_process(local=ready.opened.settings.local)
    found = searched(ready, options, output)
    return result_of(found.summary, found.problem, output)


def result_of(summary: "Summary", problem: str | None, output: Output) -> SearchResult:
    """What `asc.search` returns; `problem` is why the search was halted. A missing report page is a warning.

    Raises: as `search`.
    """
    from asc.search.exit_code import verdict  # imports Ray, whose environment is set now

    if summary.ending == "interrupted":
        raise KeyboardInterrupt
    _, sentence = verdict(summary, problem)
    if sentence is not None and sentence != summary.page.problem:
        raise InputError(sentence)
    if sentence is not None:
        output.alert(sentence)
    return SearchResult(summary.folder)


def train(quiet: bool, keywords: TrainKeywords) -> TrainResult:
    """Train one network, or go on with a training.

    Raises:
        InputError: something is wrong, or the training diverged.
    """
    run = trained(train_options(keywords), Output(as_json=True, quiet=quiet))
    if not isinstance(run.end, Completed):
        raise InputError(diverged(run.folder, run.end.epoch))
    return TrainResult(run.folder, run.end.evaluation)


def evaluate(model: str | Path, quiet: bool, keywords: EvaluateKeywords) -> Evaluated:
    """Evaluate a stored network.

    Raises:
        InputError: something is wrong.
    """
    found = evaluated(evaluate_options(model, keywords), Output(as_json=True, quiet=quiet))
    found.write()
    return found
