"""The interface of a tracker: start it, notify it that the journal has grown, close it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """The result of sending a journal: events sent, events still pending, and the problem (None: no problem).

    `model_waits` means that all events were sent, but the best model was not.
    """

    events: int
    pending: int
    problem: str | None
    model_waits: bool = False


class Tracker(Protocol):
    """Sends the events of one run's journal somewhere and never delays the run."""

    def start(self) -> None:
        """Begin with the events that are already in the journal.

        Raises:
            InputError: another process is sending this run's events.
        """

    def notify(self) -> None:
        """Tell the tracker that the journal has grown. Cheap; never blocks; can be called from any thread."""

    def close(self, drain_s: float = 20.0) -> Shipped:
        """Send the rest for at most `drain_s` seconds, then stop; an error of the tracker is returned as problem."""


class NullTracker:
    """A tracker that sends nothing."""

    def start(self) -> None:
        """Do nothing."""

    def notify(self) -> None:
        """Do nothing."""

    def close(self, drain_s: float = 20.0) -> Shipped:
        """Return that nothing was sent and nothing is pending."""
        return Shipped(events=0, pending=0, problem=None)
