"""The functions behind `asc.search`, `asc.train` and `asc.evaluate`.

They do what the launch scripts do, and return the results. A launch script ends in one sentence and an exit code; here
the same sentence is an exception.
"""

from pathlib import Path

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
from asc.results import Completed


def search(quiet: bool, keywords: SearchKeywords) -> SearchResult:
    """Run a search, or go on with one; `quiet` prints nothing but warnings.

    Raises:
        InputError: something is wrong, or no network was found.
        KeyboardInterrupt: it was interrupted; the results so far are saved.
    """
    options, output = search_options(keywords), Output(as_json=True, quiet=quiet)
    options.check_run()
    ready = prepared(options, output)
    check_process(local=ready.opened.settings.local)
    found = searched(ready, options, output)
    from asc.search import finish  # imports Ray, whose environment is set now

    if found.summary.ending == "interrupted":
        raise KeyboardInterrupt
    _, sentence = finish.verdict(found.summary, found.problem)
    if sentence is not None:
        raise InputError(sentence)
    return SearchResult(found.summary.folder)


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
