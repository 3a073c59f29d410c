"""The initial view of the table of trials on MLflow's web page: selected columns, lowest log loss first.

The view is stored in a tag of the experiment, as by the page's own "Share" button, and `?viewStateShareKey=` opens it.
The keys below are from MLflow's source, mlflow/server/js/src/experiment-tracking (ExperimentPageUIState, SearchFacets).
"""

import json

from asc.tracking.address import VIEW

VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
# Column -> width in pixels.
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
    """The JSON value of the tag. The view has a name, so the page lists it among the saved views."""
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
