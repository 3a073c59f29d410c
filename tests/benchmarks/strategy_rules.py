"""Rules of the strategies in `search_quality.py`: what happens to a trial at a rung."""

from typing import Protocol

from asc.search.rungs import Rungs


class Rule(Protocol):
    """What happens at rungs. If it pauses, a trial that is left may go on later."""

    @property
    def pauses(self) -> bool:
        """Whether it does."""
        ...

    def leaves(self, trial: str, epoch: int, log_loss: float) -> bool:
        """Whether a worker leaves this trial at this rung; it may be promoted later."""
        ...

    def promoted(self) -> str | None:
        """A trial that was left and should go on."""
        ...

    def draws(self) -> bool:
        """Whether a new point should be drawn now."""
        ...


class Whole:
    """Every trial is trained to its end."""

    pauses = False

    def leaves(self, trial: str, epoch: int, log_loss: float) -> bool:
        """Never."""
        return False

    def promoted(self) -> str | None:
        """None: no trial is left."""
        return None

    def draws(self) -> bool:
        """Always."""
        return True


class Stopping(Whole):
    """ASHA as Ray Tune has it, and asc: a trial that is not among the best 1/r of those before it is stopped."""

    def __init__(self, epochs: tuple[int, ...], factor: int) -> None:
        """Rungs at these epochs."""
        self._rungs = Rungs(epochs=epochs, reduction_factor=factor)

    def leaves(self, trial: str, epoch: int, log_loss: float) -> bool:
        """Whether it is worse."""
        return self._rungs.stops(trial, epoch, log_loss)


class Promoting(Whole):
    """ASHA as published (Li et al. 2018): every trial pauses at each rung, and the best 1/r of a rung are promoted."""

    pauses = True

    def __init__(self, epochs: tuple[int, ...], factor: int) -> None:
        """Rungs at these epochs."""
        self._factor = factor
        self._rungs: dict[int, dict[str, float]] = {epoch: {} for epoch in epochs}
        self._gone: dict[int, set[str]] = {epoch: set() for epoch in epochs}

    def leaves(self, trial: str, epoch: int, log_loss: float) -> bool:
        """Always."""
        self._rungs[epoch][trial] = log_loss
        return True

    def promoted(self) -> str | None:
        """One of the best 1/r of the highest rung that has one that was not promoted yet."""
        for epoch in reversed(self._rungs):
            rung = self._rungs[epoch]
            for trial in sorted(rung, key=rung.__getitem__)[: len(rung) // self._factor]:
                if trial not in self._gone[epoch]:
                    self._gone[epoch].add(trial)
                    return trial
        return None


class TopK(Whole):
    """One short cycle for `many` points, then the best `top` of them to their end; then again."""

    pauses = True

    def __init__(self, epoch: int, *, many: int, top: int) -> None:
        """The cycle ends at `epoch`."""
        self._epoch, self._many, self._top = epoch, many, top
        self._asked, self._rung, self._left = 0, dict[str, float](), list[str]()

    def draws(self) -> bool:
        """Until there are as many as wanted."""
        if self._asked == self._many:
            return False
        self._asked += 1
        return True

    def leaves(self, trial: str, epoch: int, log_loss: float) -> bool:
        """At the end of the short cycle."""
        if epoch != self._epoch:
            return False
        self._rung[trial] = log_loss
        if len(self._rung) == self._many:
            self._left = sorted(self._rung, key=self._rung.__getitem__)[: self._top]
            self._rung, self._asked = {}, 0
        return True

    def promoted(self) -> str | None:
        """The best first."""
        return self._left.pop(0) if self._left else None
