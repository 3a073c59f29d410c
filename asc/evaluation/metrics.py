"""Log loss and accuracy as in the DCASE challenge: the mean over classes of the per-class mean (macro).

https://dcase.community/challenge2021/task-low-complexity-acoustic-scene-classification#evaluation

Also the expected calibration error of Guo et al. 2017 (https://arxiv.org/abs/1706.04599, eq. 3): clips are put in 15
bins of equal width by their highest probability. The error is the mean, weighted by clips, of the absolute difference
between a bin's accuracy and its mean confidence. With few clips it is biased upwards, since the accuracy of a bin is
noisy.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from asc.results import Evaluation, GroupFigures, ReliabilityBin, Split, macro

BINS = 15


def evaluation(
    logits: Tensor,
    targets: Tensor,
    *,
    labels: Sequence[str],
    devices: Sequence[str],
    split: Split,
    trained_devices: Collection[str] = (),
) -> Evaluation:
    """Compute the figures of logits (clips, classes) against targets (clips,), which are class indices.

    `devices` names each clip's device; a device is seen if it is in `trained_devices`. A class without clips has no row
    and is left out of the macro means.
    """
    losses, hits = losses_and_hits(logits, targets)
    per_class = [
        _figures(label, targets == number, losses, hits)
        for number, label in enumerate(labels)
        if bool((targets == number).any())
    ]
    names = sorted(set(devices))
    rows = {name: torch.tensor([device == name for device in devices]) for name in names}
    seen = torch.tensor([device in trained_devices for device in devices])
    both = {"seen": seen, "unseen": ~seen} if bool(seen.any()) and not bool(seen.all()) else {}
    return Evaluation(
        split=split,
        clips=len(targets),
        log_loss=macro(row.log_loss for row in per_class),
        accuracy=macro(row.accuracy for row in per_class),
        micro_log_loss=losses.mean().item(),
        micro_accuracy=hits.mean().item(),
        per_class=tuple(per_class),
        per_device=tuple(_macro(name, rows[name], targets, losses, hits) for name in names),
        calibration_error=calibration_error(logits, targets),
        per_exposure=tuple(
            _macro(name, chosen, targets, losses, hits, calibration_error(logits[chosen], targets[chosen]))
            for name, chosen in both.items()
        ),
    )


def losses_and_hits(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Compute per-clip log loss (nats) and top-1 correctness (0 or 1), both (clips,) float64.

    Logits are (clips, classes), targets (clips,) class indices.
    """
    log_probabilities = torch.log_softmax(logits.double(), dim=1)
    losses = -log_probabilities.gather(1, targets[:, None]).squeeze(1)
    return losses, (logits.argmax(dim=1) == targets).double()


def confidences_and_bins(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Compute each clip's confidence (highest probability), (clips,) float64, and its bin (low, high], (clips,).

    Logits are (clips, classes).
    """
    confidences = torch.softmax(logits.double(), dim=1).amax(dim=1)
    return confidences, torch.bucketize(confidences, _edges()[1:-1])


def calibration_error(logits: Tensor, targets: Tensor) -> float:
    """Compute the expected calibration error (0 to 1) of logits (clips, classes) against targets (clips,)."""
    confidences, bins = confidences_and_bins(logits)
    _, hits = losses_and_hits(logits, targets)
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add(0, bins, hits - confidences)
    return gaps.abs().sum().item() / len(targets)


def reliability(logits: Tensor, targets: Tensor) -> tuple[ReliabilityBin, ...]:
    """Compute the reliability diagram of logits (clips, classes) against targets (clips,): the bins of the error."""
    confidences, bins = confidences_and_bins(logits)
    _, hits = losses_and_hits(logits, targets)
    edges = _edges().tolist()
    return tuple(
        ReliabilityBin(
            low=edges[number],
            high=edges[number + 1],
            clips=int(chosen.sum()),
            confidence=confidences[chosen].mean().item() if bool(chosen.any()) else None,
            accuracy=hits[chosen].mean().item() if bool(chosen.any()) else None,
        )
        for number in range(BINS)
        for chosen in [bins == number]
    )


def confusion(logits: Tensor, targets: Tensor) -> tuple[tuple[int, ...], ...]:
    """Count clips by true class (rows) and predicted class (columns), (classes, classes).

    Logits are (clips, classes), targets (clips,) class indices.
    """
    classes = logits.shape[1]
    pairs = targets * classes + logits.argmax(dim=1)
    counts = torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    return tuple(tuple(row) for row in counts.tolist())


def _edges() -> Tensor:
    return torch.linspace(0, 1, BINS + 1, dtype=torch.float64)


def _figures(name: str, chosen: Tensor, losses: Tensor, hits: Tensor) -> GroupFigures:
    return GroupFigures(
        name=name,
        clips=int(chosen.sum()),
        log_loss=losses[chosen].mean().item(),
        accuracy=hits[chosen].mean().item(),
    )


def _macro(
    name: str, chosen: Tensor, targets: Tensor, losses: Tensor, hits: Tensor, error: float | None = None
) -> GroupFigures:
    classes = [
        _figures("", chosen & (targets == number), losses, hits) for number in sorted(set(targets[chosen].tolist()))
    ]
    return GroupFigures(
        name=name,
        clips=int(chosen.sum()),
        log_loss=macro(row.log_loss for row in classes),
        accuracy=macro(row.accuracy for row in classes),
        calibration_error=error,
    )
