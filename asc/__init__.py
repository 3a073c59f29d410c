"""asc: acoustic scene classifiers that fit a hard size limit.

    result = asc.search(data="folder:recordings", budget_kb=128)  # or asc.train(...), one network
    asc.evaluate(result.folder, split="test")
    asc.size(recipe="qat_8b")
    model = asc.load("NAME")  # a run in runs/; or NAME/t005, or a model file
    prediction = model.predict(waveform, sample_rate_hz)
    print(prediction.label, prediction.probability)

Importing asc is light: torch is imported by the functions that need it. What is wrong raises `asc.errors.InputError`, a
`ValueError` that is one sentence.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Unpack

from asc.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asc.api.evaluating import Evaluated
    from asc.api.keywords import EvaluateKeywords, SearchKeywords, TrainKeywords
    from asc.api.results import SearchResult, TrainResult
    from asc.api.sizing import NetworkSize
    from asc.config.experiment import Experiment
    from asc.inference.predict import Model
    from asc.size.stored_items import StoredAs
    from asc.typed import Value

__version__ = "0.2.0"
__all__ = ["InputError", "evaluate", "load", "read_search", "search", "size", "train"]


def search(*, quiet: bool = False, **options: "Unpack[SearchKeywords]") -> "SearchResult":
    """Search for the best network within a size limit, as launch/search.py does, and save it.

    The options are those of launch/search.py, with underscores: `data` (built-in data if left out), `budget_kb` (128),
    `space`, `trials` (8), `epochs_per_cycle`, `time_budget_min`, `final_top`, `name`, `resume` and so on. Progress goes
    to standard error, unless `quiet`. Call it in the main thread; Ray runs within the call.

    Raises:
        InputError: something is wrong, or no network was found; the message says what to do.
        KeyboardInterrupt: it was interrupted; the results so far are saved, and `resume=NAME` goes on.
    """
    from asc.api import calls

    return calls.search(quiet, options)


def read_search(name: str | Path) -> "SearchResult":
    """Open an earlier search, or one that still runs, by its name in runs/ or by its folder.

    Raises:
        InputError: there is no such search.
    """
    from asc.api.keywords import a_path
    from asc.api.results import SearchResult

    return SearchResult.of(a_path("name", name))


def train(*, quiet: bool = False, **options: "Unpack[TrainKeywords]") -> "TrainResult":
    """Train one network, as launch/train.py does, and save it.

    The options are those of launch/train.py, with underscores: `data`, `recipe` or `config`, `cycles`,
    `epochs_per_cycle`, `batch_size`, `name`, `resume` and so on. `overrides` changes values of the config:
    `{"architecture.widths": [16, 32]}`. Progress goes to standard error, unless `quiet`.

    Raises:
        InputError: something is wrong, or the training diverged; the message says what to do.
    """
    from asc.api import calls

    return calls.train(quiet, options)


def evaluate(model: str | Path, *, quiet: bool = False, **options: "Unpack[EvaluateKeywords]") -> "Evaluated":
    """Evaluate a stored network on a split that it was not trained on, as launch/evaluate.py does.

    `model` is a file, a run or a trial, as for `load`. The options are `data` (by default that of the training),
    `split` ("valid", "calibration", "confirmation" or "test"), `device_irs`, `group_from`, `cache` and `output`, the
    folder for the files (by default evaluation-SPLIT beside the model).

    Raises:
        InputError: something is wrong; the message says what to do.
    """
    from asc.api import calls

    return calls.evaluate(model, quiet, options)


def size(
    config: "Experiment | str | Path | None" = None,
    *,
    recipe: str | None = None,
    overrides: "Mapping[str, Value] | None" = None,
    stored_as: "StoredAs" = "asc",
    seconds: float = 10.0,
) -> "NetworkSize":
    """Compute what a network stores and what it costs to run, from its config alone, as launch/size.py does.

    `config` is a config, its file, a model file, a run or a trial; `recipe` is a shipped one (default qat_8b).
    `overrides` changes values: `{"architecture.widths": [16, 32]}`. The peak memory is for audio of `seconds`.

    Raises:
        InputError: the config or another argument is wrong.
    """
    from asc.api.sizing import sized

    return sized(config, recipe=recipe, overrides=overrides, stored_as=stored_as, seconds=seconds)


def load(path: str | Path) -> "Model":
    """Load a model, ready to predict: a file, the name of a run in runs/ (its best network), or a trial (NAME/t005).

    Raises:
        InputError: it is none of these, or the file is damaged or not a model file that this asc reads.
    """
    from asc.api.keywords import a_path
    from asc.inference.predict import load
    from asc.runs.named import model_file

    return load(model_file(a_path("path", path)))


class _CallablePackage(ModuleType):
    """A package that is also a function, because `asc.search` and `asc.size` are names of both.

    When Python imports a package, it puts it in the place of a function of that name.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function."""
        return self.__wrapped__(*args, **options)


def _make_callable(function: Any) -> None:
    name = f"asc.{function.__name__}"
    if find_spec(name) is None:  # the part of asc that MLflow serves has no searches
        return
    package: Any = import_module(name)
    package.__class__ = _CallablePackage
    package.__wrapped__, package.__doc__ = function, function.__doc__  # for help() and notebooks


_make_callable(search)
_make_callable(size)
