"""The tracker for runs without MLflow."""

from asc.tracking.tracker import NullTracker, Shipped, Tracker


def test_the_null_tracker_does_nothing():
    tracker: Tracker = NullTracker()
    tracker.start()
    tracker.notify()
    assert tracker.close() == Shipped(events=0, pending=0, problem=None)
