"""Log loss and accuracy as the DCASE challenge counts them: the mean over classes of the per-class mean (macro).

https://dcase.community/challenge2021/task-low-complexity-acoustic-scene-classification#evaluation
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from asc.results import Evaluation, GroupFigures, Split


def evaluation(
    logits: Tensor, targets: Tensor, *, labels: Sequence[str], devices: Sequence[str], split: Split
) -> Evaluation:
    """Figures of logits (clips, classes) against targets (clips,) of class numbers; `devices` names each clip's device.

    A class without a clip in the split has no row and no part in the macro means.
    """
    log_probabilities = torch.log_softmax(logits.double(), dim=1)
    losses = -log_probabilities.gather(1, targets[:, None]).squeeze(1)
    hits = (logits.argmax(dim=1) == targets).double()
    per_class = [
        _figures(label, targets == number, losses, hits)
        for number, label in enumerate(labels)
        if bool((targets == number).any())
    ]
    names = sorted(set(devices))
    rows = {name: torch.tensor([device == name for device in devices]) for name in names}
    return Evaluation(
        split=split,
        clips=len(targets),
        log_loss=_mean([row.log_loss for row in per_class]),
        accuracy=_mean([row.accuracy for row in per_class]),
        micro_log_loss=losses.mean().item(),
        micro_accuracy=hits.mean().item(),
        per_class=tuple(per_class),
        per_device=tuple(_macro(name, rows[name], targets, losses, hits) for name in names),
    )


def _figures(name: str, chosen: Tensor, losses: Tensor, hits: Tensor) -> GroupFigures:
    return GroupFigures(
        name=name,
        clips=int(chosen.sum()),
        log_loss=losses[chosen].mean().item(),
        accuracy=hits[chosen].mean().item(),
    )


def _macro(name: str, chosen: Tensor, targets: Tensor, losses: Tensor, hits: Tensor) -> GroupFigures:
    classes = [
        _figures("", chosen & (targets == number), losses, hits) for number in sorted(set(targets[chosen].tolist()))
    ]
    return GroupFigures(
        name=name,
        clips=int(chosen.sum()),
        log_loss=_mean([row.log_loss for row in classes]),
        accuracy=_mean([row.accuracy for row in classes]),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
