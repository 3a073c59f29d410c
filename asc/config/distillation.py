"""The distillation's part of an experiment: how much a network learns from the soft labels of teachers.

Hinton, Vinyals and Dean 2015, https://arxiv.org/abs/1503.02531. The soft labels themselves are data
(`asc.model_file.teacher_logits`): without them these keys change nothing.
"""

from dataclasses import dataclass

from asc.errors import require
from asc.typed import widen


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """The loss is weight T^2 KL(teacher || student), both at temperature T, plus (1 - weight) cross-entropy.

    The defaults are those of the published student of DCASE 2023 (Schmid et al. 2023, https://arxiv.org/abs/2305.07499;
    run_training.py of https://github.com/fschmid56/cpjku_dcase23 has temperature 2 and weight 0.02 on the labels). That
    code takes the mean of the divergence over classes too, so with ten classes its labels weigh ten times as much.
    """

    temperature: float = 2.0
    weight: float = 0.98

    def __post_init__(self) -> None:
        """Check ranges."""
        widen(self)
        require(
            0.1 <= self.temperature <= 100,
            f"distillation.temperature must lie between 0.1 and 100, got {self.temperature}",
        )
        require(
            0 <= self.weight <= 1,
            "distillation.weight is the share of the soft labels in the loss: it must lie between 0 (labels alone) and "
            f"1 (soft labels alone), got {self.weight}",
        )
