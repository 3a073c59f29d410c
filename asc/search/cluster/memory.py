"""Decides how many trials run at a time when memory is short.

Ray's memory monitor stops workers before a node runs out of memory, the newest first
(https://docs.ray.io/en/latest/ray-core/scheduling/ray-oom-prevention.html). It does not know which trial took the
memory, so a trial that ran beside others is not blamed: it waits until memory is free again. If memory then runs short
again, fewer trials run at a time. A trial that ran alone is to blame if memory is free once it has gone.
"""

import os
import time
from collections.abc import Callable

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 60.0
# Workers that Ray stops within this many seconds of each other count as one shortage.
_ONE_SHORTAGE_S = 15.0
# A shortage within this time of the last one means that waiting did not help.
_RECENT_S = 600.0
# If memory stays short for this long while no trial runs, other programs hold it, and may do so all night.
_PATIENCE_S = 600.0
# Memory of a worker that has not begun to work.
_WORKER_BYTES = 400 * 1024**2


class Headroom:
    """Decides whether another trial may start. It must be told of every start and end, by the worker's name."""

    def __init__(
        self,
        most: int,
        *,
        say: Callable[[str], None],
        is_short: Callable[[], bool],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Allow at most `most` trials at a time; `is_short` returns whether memory is too short for one more worker."""
        self._most = self.limit = most
        self._say, self._is_short, self._clock_s = say, is_short, clock_s
        self._beside: dict[str, bool] = {}
        self._lost_after: dict[str, int] = {}
        self._shortage_s = self._patient_until_s = self._resumes_s = -float("inf")
        self._pause_s, self._waits, self._lowered = _FIRST_PAUSE_S, False, False

    @property
    def hopeless(self) -> bool:
        """Whether memory has been short for a long time although no trial runs."""
        return self._waits and not self._beside and self._clock_s() > self._patient_until_s and self._is_short()

    def may_start(self) -> bool:
        """Whether a trial may start now: memory is not short, and fewer than `limit` trials run."""
        if self._waits:
            if self._clock_s() < self._resumes_s or self._is_short():
                return False
            self._waits = False
        return len(self._beside) < self.limit

    def started(self, worker: str) -> None:
        """Note that a worker starts a trial."""
        self._beside[worker] = bool(self._beside)
        if len(self._beside) > 1:
            self._beside = dict.fromkeys(self._beside, True)

    def ended(self, worker: str) -> None:
        """Note that a worker's trial has ended or was lost."""
        self._beside.pop(worker, None)

    def ran_short(self, worker: str, trial: str, epoch: int) -> bool:
        """Note that Ray stopped a worker, after this epoch, for lack of memory; return whether its trial is to blame.

        It is to blame if it ran alone and memory is free now that it has gone. Otherwise something else holds the
        memory.
        """
        alone = not self._beside.pop(worker, False)
        now_s, again = self._clock_s(), self._lost_after.get(trial) == epoch
        self._lost_after[trial] = epoch
        if now_s - self._shortage_s > _ONE_SHORTAGE_S:
            recent = now_s - self._shortage_s < _RECENT_S
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S) if recent else _FIRST_PAUSE_S
            self._shortage_s, self._lowered = now_s, False
            again = again or recent
        self._waits, self._resumes_s = True, now_s + self._pause_s
        self._patient_until_s = now_s + _PATIENCE_S
        if again and not alone and not self._lowered and self.limit > 1:
            self.limit, self._lowered = self.limit - 1, True
            self._say(f"memory ran short again: {self.limit} at a time from now on")
        return alone and not self._is_short()

    def gave_up(self) -> None:
        """Restore the limit: the trial that was too large on its own has failed."""
        if self.limit < self._most:
            self.limit = self._most
            self._say(f"the trial that took the memory has failed: {self.limit} at a time again")


def is_short_here() -> bool:
    """Whether Ray's monitor would stop one more worker on this machine. Memory is measured as Ray measures it."""
    from ray._common.utils import get_system_memory
    from ray._private.utils import get_used_memory

    threshold = float(os.environ.get("RAY_memory_usage_threshold", "0.95"))
    used_bytes, total_bytes = int(get_used_memory()), int(get_system_memory())  # type: ignore[no-untyped-call]
    return used_bytes + _WORKER_BYTES > threshold * total_bytes
