"""How often a trial that its workers lose is tried again."""

ATTEMPTS = 3
# Even losses that were not the trial's fault count here: otherwise it could be handed out for ever.
_MOST_LOSSES = 20


class Attempts:
    """Counts the losses of trials. Only those in this process: after a resume each trial has all attempts again."""

    def __init__(self) -> None:
        """No trial has been lost yet."""
        self._losses: dict[str, list[tuple[int, bool]]] = {}

    def used_up(self, trial: str, epoch: int, *, blame: bool) -> bool:
        """Count a loss and return whether the trial has no attempt left.

        `epoch` is the last epoch that the trial completed; `blame` says whether the loss was its fault. It has no
        attempt left when it was to blame `ATTEMPTS` times in a row without completing another epoch.
        """
        since = [loss for loss in self._losses.get(trial, []) if loss[0] == epoch]
        losses = self._losses[trial] = [*since, (epoch, blame)]
        return sum(blamed for _, blamed in losses) >= ATTEMPTS or len(losses) >= _MOST_LOSSES
