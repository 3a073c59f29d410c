"""Starts Ray on one machine without the processes that a search does not use, and without waiting for them.

`ray.init` always starts a log monitor, which sends the output of workers to a driver that wants it; an autoscaler,
which adds nodes to a cluster; and a server for a dashboard, even one without a dashboard. Together they take four
seconds of processor time, and no setting leaves them out (Ray 2.60). So three private methods are
replaced; the version of Ray is pinned.
"""

import contextlib
from collections.abc import Iterator

from ray._private import node


class _Node(node.Node):
    """A node with its control service, its raylet and what the raylet starts."""

    def start_log_monitor(self) -> None:
        """Do nothing: the output of workers stays in Ray's log files."""

    def start_monitor(self) -> None:
        """Do nothing: no nodes join."""

    def start_api_server(self, *, include_dashboard: bool | None, raise_on_failure: bool) -> None:
        """Do nothing: there is no dashboard."""


@contextlib.contextmanager
def lean_nodes() -> Iterator[None]:
    """In this context, `ray.init` starts only what a search on one machine uses."""
    before = node.Node
    node.Node = _Node  # type: ignore[misc]
    try:
        yield
    finally:
        node.Node = before  # type: ignore[misc]
