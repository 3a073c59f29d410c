"""One connection to MLflow: finds or creates the runs of one search or training, and writes updates to them.

Repeating an update changes nothing: runs are found by their tags, existing params are left alone, and a metric is sent
only for steps after its last one. Importing this module imports MLflow, which takes seconds.
https://mlflow.org/docs/latest/api_reference/python_api/mlflow.client.html
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, Run, RunTag
from sqlalchemy import make_url

from asc.run_files import BEST_FOLDER, LEADERBOARD_CSV, REPORT_PAGE
from asc.tracking.address import EXPERIMENT, artefact_root, is_database
from asc.tracking.registry import BestModel, publish
from asc.tracking.schema import Replaced, check_schema, make_database
from asc.tracking.update import RUN_TAG, TRIAL_TAG, Head, Update
from asc.tracking.view import views

_PARAM_CHARACTERS = 6000
_TAG_CHARACTERS = 5000


@dataclass(slots=True, kw_only=True)
class _Known:
    """An existing MLflow run. `last_steps` maps metric keys to their last step, fetched when first needed."""

    run_id: str
    status: str
    params: set[str] = field(default_factory=set)
    metric_keys: frozenset[str] = frozenset()
    last_steps: dict[str, int] = field(default_factory=dict)


class MlflowStore:
    """The MLflow runs of one journal. Every method raises one of `failures.failures()` if it cannot write to MLflow."""

    def __init__(self, uri: str, run_key: str) -> None:
        """Connect, find or create the experiment, and find the existing runs."""
        self._uri = uri
        with _alone_at(uri) if is_database(uri) else contextlib.nullcontext():
            self._file = _identity(uri)
            self._client = MlflowClient(uri)
            self.experiment_id = self._experiment(uri)
        self._runs = dict(self._found(run_key))

    @property
    def parent_run_id(self) -> str | None:
        """The id of the run of the whole search or training; None while MLflow has none."""
        return self._runs[None].run_id if None in self._runs else None

    def write(self, updates: Sequence[Update], run_folder: Path) -> None:
        """Write updates in order, with one request per MLflow run if possible; files come from `run_folder`."""
        self._check_file()
        groups: dict[str | None, list[Update]] = {}
        for update in updates:
            groups.setdefault(update.head.trial, []).append(update)
        for group in groups.values():
            self._write_run(group, run_folder)

    def publish(self, best: BestModel) -> str:
        """Log and register the best model of the run, unless that is done already; return its URI."""
        self._check_file()
        return publish(self._client, self.experiment_id, best)

    def add_view(self, tags: Mapping[str, str]) -> None:
        """Add tags that hold views to the experiment, unless it has them."""
        if tags:
            self._add_tags(self._client.get_experiment(self.experiment_id), tags)

    def _check_file(self) -> None:
        if _identity(self._uri) != self._file:
            raise Replaced(f"the database {self._uri} was replaced while it was in use, as by `track.py --rebuild`")

    def _write_run(self, group: list[Update], run_folder: Path) -> None:
        known = self._known(group[0].head)
        params = {k: v for update in group for k, v in update.params.items() if k not in known.params}
        tags = {k: v for update in group for k, v in update.tags.items()}
        self._client.log_batch(
            known.run_id,
            metrics=[metric for update in group for metric in self._new_metrics(known, update)],
            params=[Param(k, _cut(v, _PARAM_CHARACTERS)) for k, v in params.items()],
            tags=[RunTag(k, _cut(v, _TAG_CHARACTERS)) for k, v in tags.items()],
        )
        known.params.update(params)
        self._set_status(known, group)
        if any(update.with_files for update in group):
            self._send_files(known, run_folder)

    def _new_metrics(self, known: _Known, update: Update) -> Iterator[Metric]:
        for figure in update.figures:
            if figure.step > self._last_step(known, figure.key):
                known.last_steps[figure.key] = figure.step
                yield Metric(figure.key, figure.value, update.time_ms, figure.step)

    def _last_step(self, known: _Known, key: str) -> int:
        if key not in known.last_steps:
            history = self._client.get_metric_history(known.run_id, key) if key in known.metric_keys else []
            known.last_steps[key] = max((metric.step for metric in history), default=-1)
        return known.last_steps[key]

    def _set_status(self, known: _Known, group: list[Update]) -> None:
        last = next((update for update in reversed(group) if update.status is not None), None)
        if last is None or last.status is None or last.status == known.status:
            return
        if last.status in ("RUNNING", "SCHEDULED"):
            self._client.update_run(known.run_id, status=last.status)
        else:
            self._client.set_terminated(known.run_id, status=last.status, end_time=last.end_ms or last.time_ms)
        known.status = last.status

    def _send_files(self, known: _Known, run_folder: Path) -> None:
        for best in (run_folder / BEST_FOLDER, *sorted(run_folder.glob(f"{BEST_FOLDER}-*"))):  # of several budgets
            if best.is_dir():
                self._client.log_artifacts(known.run_id, str(best), best.name)
        for file in (run_folder / LEADERBOARD_CSV, run_folder / REPORT_PAGE):
            if file.is_file():
                self._client.log_artifact(known.run_id, str(file))

    def _known(self, head: Head) -> _Known:
        if head.trial not in self._runs:
            parent = {} if head.trial is None else {"mlflow.parentRunId": self._runs[None].run_id}
            run = self._client.create_run(
                self.experiment_id, start_time=head.start_ms, run_name=head.name, tags={**head.tags, **parent}
            )
            self._runs[head.trial] = _Known(run_id=run.info.run_id, status=run.info.status)
        return self._runs[head.trial]

    def _found(self, run_key: str) -> Iterator[tuple[str | None, _Known]]:
        token = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id], f"tags.`{RUN_TAG}` = '{run_key}'", max_results=200, page_token=token
            )
            for run in page:
                yield run.data.tags.get(TRIAL_TAG), _as_known(run)
            token = page.token
            if not token:
                return

    def _experiment(self, uri: str) -> str:
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            experiment = self._client.get_experiment(
                self._client.create_experiment(EXPERIMENT, artifact_location=artefact_root(uri))
            )
        # Without this tag the page asks each visitor for the kind of experiment and opens on another tab.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        self._add_tags(experiment, {**kind, **views(experiment.creation_time or 0)})
        return str(experiment.experiment_id)

    def _add_tags(self, experiment: Experiment, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            if key not in experiment.tags:
                self._client.set_experiment_tag(experiment.experiment_id, key, value)


def _identity(uri: str) -> tuple[int, int] | None:
    """What tells a database file from another of its name; None for a server, or if there is no file."""
    if not is_database(uri):
        return None
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(make_url(uri).database or "")
        return found.st_dev, found.st_ino
    return None


@contextlib.contextmanager
def _alone_at(uri: str) -> Iterator[None]:
    """Let one process at a time open the database: two that create its tables at once disturb each other.

    First checks that the file can be written, because MLflow would retry for 100 s if it cannot.

    Raises:
        OSError: the file cannot be created or written.
        OtherSchema: as `check_schema`.
    """
    file = Path(make_url(uri).database or "")
    file.parent.mkdir(parents=True, exist_ok=True)
    with alone(file.parent):
        with file.open("ab"):
            pass
        check_schema(uri)
        make_database(uri)
        yield


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from opening a database of this folder meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _as_known(run: Run) -> _Known:
    data = run.data
    return _Known(
        run_id=run.info.run_id, status=run.info.status, params=set(data.params), metric_keys=frozenset(data.metrics)
    )


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 3]}..."
