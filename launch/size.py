"""Print what a network stores, what it costs to run, and under which size rules it fits, from its config alone.

python launch/size.py --recipe qat_8b
python launch/size.py --recipe qat_8b --stored-as report --json
python launch/size.py --recipe 16b_prune --stored-as report
python launch/size.py --recipe qat_8b --memory --seconds 1
python launch/size.py --config runs/NAME/best/config.toml --set architecture.widths=[16,32]
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from asc.console import cli, tables
from asc.console.options import ConfigOptions
from asc.runs import named
from asc.size import memory_plan
from asc.size.law import cost


@dataclass(frozen=True, kw_only=True)
class Options:
    """Print the size table of a network and, for each accounting rule, whether it fits."""

    network: Annotated[ConfigOptions, tyro.conf.arg(name="")] = field(default_factory=ConfigOptions)
    stored_as: Literal["asc", "report"] = "asc"
    """Count what asc itself stores, or what the report stored (float64 scales, int64 zero points)."""
    budget_kb: float = 128
    """The limit, in each rule's own KB."""
    seconds: float = 10.0
    """Length of the audio for which the peak activation memory is given."""
    memory: bool = False
    """Also print what a device needs: flash, MACs, live tensors at each operation, their peak, and a static arena."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(options: Options) -> int:
    """Compute the network's size and print it."""
    output = cli.Output(as_json=options.json)
    experiment = options.network.experiment(named.config)
    size = cost(
        experiment,
        stored_as=options.stored_as,
        seconds=options.seconds,
    )
    rules = tables.rules_table(size, options.budget_kb)
    output.result(tables.size_table(size))
    output.result(
        f"{size.macs_per_second / 1e6:.1f} MMAC per second of audio; peak activation memory "
        f"{size.peak_activation_bytes:,} bytes for {options.seconds:g} s"
    )
    output.result(rules)
    answer = tables.size_json(size, options.budget_kb)
    if options.memory:
        plan = memory_plan.memory_plan(experiment, seconds=options.seconds)
        for table in memory_plan.plan_tables(plan):
            output.result(table)
        output.result(memory_plan.plan_text(plan))
        answer["memory"] = memory_plan.plan_json(plan)
    output.json(answer)
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, Options)
