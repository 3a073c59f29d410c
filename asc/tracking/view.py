"""The table of trials as MLflow's web page should show it first: chosen columns, best log loss on top.

The page keeps such a view in a tag of the experiment, as its own "Share" does, and opens it by `?viewStateShareKey=`;
the keys below are those of its source, mlflow/server/js/src/experiment-tracking (ExperimentPageUIState, SearchFacets).
"""

import json

from asc.tracking.address import VIEW

VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
# Each with its width in pixels.
_COLUMNS = {
    "metrics.`log_loss`": 90,
    "metrics.`accuracy`": 90,
    "metrics.`nonzero_bytes`": 110,
    "metrics.`built_nonzero_bytes`": 140,
    "params.`compression.storage`": 140,
    "params.`compression.prune_ratio`": 160,
    "tags.`outcome`": 90,
    "metrics.`macs_per_second`": 130,
    "metrics.`peak_activation_bytes`": 160,
    "metrics.`epochs`": 80,
    "metrics.`seconds`": 80,
}


def view_state(created_ms: int) -> str:
    """The value of the tag: a named view, so that the page lists it among the saved ones."""
    state = {
        "searchFilter": "",
        "orderByKey": "metrics.`log_loss`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "selectedColumns": list(_COLUMNS),
        "columnOrder": list(_COLUMNS),
        "columnWidths": _COLUMNS,
        "runListHidden": False,
    }
    envelope = {"name": "asc: trials, best first", "createdAt": created_ms, "updatedAt": created_ms}
    return json.dumps({**envelope, "state": json.dumps(state)})
