"""The saved views of the runs on MLflow's web page: trials best first, and searches with their trials nested in them.

A view is stored in a tag of the experiment, as by the page's own "Share" button. `?viewStateShareKey=` opens it, and
the page lists those that have a name. The keys below are from MLflow's source,
mlflow/server/js/src/experiment-tracking (ExperimentPageUIState, SearchFacets, runs-charts.types).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from asc.runs.record import RunRecord
from asc.tracking.address import SEARCHES_VIEW, TRIALS_VIEW, search_view
from asc.tracking.content import run_key
from asc.tracking.update import CURVES, RUN_TAG, SEARCH_TAG

# Column -> width in pixels.
_COLUMNS = {
    f"tags.`{SEARCH_TAG}`": 110,
    "metrics.`log_loss`": 80,
    "metrics.`accuracy`": 85,
    f"metrics.`{CURVES}/valid_log_loss`": 160,
    "tags.`outcome`": 95,
    "params.`nonzero_bytes`": 115,
    "params.`epochs`": 70,
    "duration": 85,  # the one column whose id in MLflow's table is no canonical key
    "params.`compression.storage`": 150,
    "params.`compression.prune_ratio`": 175,
    "params.`macs_per_second`": 140,
    "params.`peak_activation_bytes`": 165,
}
_NAME = {"attributes.`Run Name`": 250}  # which is always shown; nested names do not fit into the page's own width
_KIND = "asc.kind"
_BEST = {"metrics.`best_log_loss`": 120, "metrics.`best_accuracy`": 120}  # of a search
# What every trial has, for the parallel coordinates of several searches, which may have searched different parameters.
_COMMON = (
    "nonzero_bytes",
    "macs_per_second",
    "compression.storage",
    "compression.prune_ratio",
    "schedule.learning_rate_max",
)


def views(created_ms: int) -> Mapping[str, str]:
    """The tags of the views of an experiment; `created_ms` is when it was created."""
    trials = _best_first(f"tags.`{_KIND}` = 'trial'", _COMMON)
    # Under any other order, and with a filter that leaves out parents, the page shows children as runs of their own.
    nested = _state("", "attributes.start_time", ascending=False, charted=_COMMON, columns={**_BEST, **_COLUMNS})
    return {
        _tag(TRIALS_VIEW): _named("asc: trials, best first", trials, created_ms),
        _tag(SEARCHES_VIEW): _named("asc: searches with their trials", nested, created_ms),
    }


def view_of_search(record: RunRecord) -> Mapping[str, str]:
    """The tag of the view of one search: its trials alone. It has no name, so that the page's list stays short.

    Empty for a training, and for a search without trials: its parallel coordinates are of the parameters of a trial.
    """
    first = next(iter(record.trials.values()), None)
    if record.started.kind != "search" or first is None:
        return {}
    key = run_key(record)
    searched = [name for name in (first.asked.point or {}) if name in first.asked.config]
    state = _best_first(f"tags.`{RUN_TAG}` = '{key}' AND tags.`{_KIND}` = 'trial'", searched or _COMMON)
    return {_tag(search_view(key)): json.dumps(state)}


def _tag(view: str) -> str:
    return f"mlflow.sharedViewState.{view}"


def _named(name: str, state: Mapping[str, Any], created_ms: int) -> str:
    envelope = {"name": name, "createdAt": created_ms, "updatedAt": created_ms}
    return json.dumps({**envelope, "state": json.dumps(state)})


def _best_first(chosen: str, charted: Sequence[str]) -> dict[str, Any]:
    return _state(chosen, "metrics.`log_loss`", ascending=True, charted=charted)


def _state(
    chosen: str, order: str, *, ascending: bool, charted: Sequence[str], columns: Mapping[str, int] = _COLUMNS
) -> dict[str, Any]:
    return {
        "searchFilter": chosen,
        "orderByKey": order,
        "orderByAsc": ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "selectedColumns": list(columns),
        "columnOrder": [*_NAME, *columns],
        "columnWidths": {**_NAME, **columns},
        "runListHidden": False,
        **_charts(charted),
    }


def _charts(parameters: Sequence[str]) -> dict[str, Any]:
    """Parallel coordinates that end in the log loss, below the curves; the page adds a chart for each metric."""
    sections = {"asc-curves": CURVES, "asc-parameters": "Parameters", "asc-metrics": "Model metrics"}
    parallel = {
        "uuid": "asc-parallel",
        "type": "PARALLEL",
        "metricSectionId": "asc-parameters",
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 10,
        "selectedParams": list(parameters),
        "selectedMetrics": ["log_loss"],
        "showAllRuns": True,
    }
    return {
        "isAccordionReordered": True,  # or the page sorts the sections by name
        "compareRunCharts": [parallel],
        "compareRunSections": [
            {
                **{"uuid": uuid, "name": name, "display": True, "isReordered": False, "deleted": False},
                "isGenerated": False,
                # The axes need the whole width, or the page cuts their names.
                **({"columns": 1, "cardHeight": 420} if uuid == parallel["metricSectionId"] else {}),
            }
            for uuid, name in sections.items()
        ],
    }
