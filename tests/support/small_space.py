"""A small search space, as the text of its file."""

from asc.config.space import Space
from asc.config.space_file import parse_space

TEXT = """
schema = 1
[parameters]
"architecture.widths.0" = { low = 4, high = 50, step = 4 }
"architecture.cardinality" = { choices = [1, 2, 4] }
"architecture.time_strides" = { choices = [[2, 2, 1, 2, 1, 1], [1, 1, 1, 1, 1, 1]] }
"augment.speed_factors" = { choices = [[1], [0.85, 1, 1.15]] }
"augment.mixup_alpha" = { low = 0, high = 1 }
"schedule.learning_rate_max" = { low = 1e-4, high = 1e-2, log = true }
"schedule.batch_size" = { choices = [16] }
"augment.crop_s" = { choices = [1] }
"""


def parsed(line: str) -> Space:
    return parse_space(f"schema = 1\n[parameters]\n{line}\n", source="my.toml", name="my")
