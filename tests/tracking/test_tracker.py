from asc.tracking.tracker import NullTracker, Shipped, Tracker


def test_the_null_tracker_is_a_tracker_that_leaves_nothing_behind():
    tracker: Tracker = NullTracker()
    tracker.start()
    tracker.notify()
    assert tracker.close() == Shipped(events=0, pending=0, problem=None)
