"""What a launch script knows of tracking: start it, tell it that the journal has grown, close it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """What became of a journal's events: how many were sent, how many wait there, and why (None: all is well).

    `model_waits` says that the best model is still to be sent, though all events are.
    """

    events: int
    pending: int
    problem: str | None
    model_waits: bool = False


class Tracker(Protocol):
    """Sends the events of one run's journal somewhere, without ever holding up the run."""

    def start(self) -> None:
        """Begin, with whatever the journal already holds.

        Raises:
            InputError: another process sends this run's events.
        """

    def notify(self) -> None:
        """Say that the journal has grown. Cheap, never blocks, may be called from any thread."""

    def close(self, drain_s: float = 20.0) -> Shipped:
        """Send what is left for at most `drain_s` seconds, then stop; an error in the tracker itself is raised here."""


class NullTracker:
    """A tracker that sends nothing."""

    def start(self) -> None:
        """Nothing to start."""

    def notify(self) -> None:
        """Nothing to do."""

    def close(self, drain_s: float = 20.0) -> Shipped:
        """Nothing was sent and nothing waits."""
        return Shipped(events=0, pending=0, problem=None)
