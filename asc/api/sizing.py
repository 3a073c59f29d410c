"""The size of a network from its config alone, for `asc.size`; imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asc.api.keywords import a_path, assignments
from asc.config.experiment import Experiment
from asc.config.recipes.loading import experiment_from, parse_assignment
from asc.console.tables import size_sheet
from asc.errors import require
from asc.model_file.model_header import experiment_in
from asc.runs import named
from asc.size.law import Cost, cost
from asc.size.rules import RuleName, counted_bytes, rule, why_not
from asc.size.stored_items import StoredAs
from asc.typed import Value, typed

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSize:
    """What a network stores and what it costs to run. `cost` has every stored item."""

    cost: Cost

    @property
    def parameters(self) -> int:
        """The number of stored parameters, without pruned zeros."""
        return self.cost.stored.nonzero_parameters

    @property
    def size_bytes(self) -> int:
        """The bytes of the stored parameters, without pruned zeros."""
        return self.cost.stored.nonzero_bytes

    @property
    def file_bytes(self) -> int:
        """The length of the model file."""
        return self.cost.stored.file_bytes

    @property
    def macs_per_second(self) -> int:
        """Multiply-accumulates on a second of audio."""
        return self.cost.macs_per_second

    @property
    def peak_activation_bytes(self) -> int:
        """The most memory that live tensors take at a time."""
        return self.cost.peak_activation_bytes

    def kilobytes(self, by: RuleName = "dcase2021") -> float:
        """What a rule counts, in the rule's own KB (1,024 or 1,000 bytes).

        Raises:
            InputError: there is no such rule.
        """
        return counted_bytes(rule(by), self.cost.stored) / rule(by).unit_bytes

    def fits(self, budget_kb: float = 128, by: RuleName = "dcase2021") -> bool:
        """Whether the network is within a budget and within the rule's limit on MACs. Raises as `why_not`."""
        return self.why_not(budget_kb, by) is None

    def why_not(self, budget_kb: float = 128, by: RuleName = "dcase2021") -> str | None:
        """One sentence that says by how much the network breaks the rule, or None if it fits.

        Raises:
            InputError: there is no such rule, or the budget is not a number above 0.
        """
        return why_not(rule(by), self.cost, typed(float, budget_kb, "budget_kb"))

    def table(self) -> "pandas.DataFrame":
        """What the network stores, summed by kind: the number of values, the bytes of each, all bytes."""
        import pandas

        sheet = size_sheet(self.cost)
        frame = pandas.DataFrame(sheet.rows, columns=list(sheet.columns)).set_index("item")
        return frame.apply(lambda column: column.str.replace(",", "").astype(int))

    def __repr__(self) -> str:
        """Parameters, bytes, MACs and memory."""
        return (
            f"<size: {self.parameters:,} parameters, {self.size_bytes:,} bytes, {self.file_bytes:,} as a file, "
            f"{self.macs_per_second / 1e6:.1f} MMAC/s, {self.peak_activation_bytes / 1024:,.0f} KB of RAM at the peak>"
        )


def sized(
    config: Experiment | str | Path | None,
    *,
    recipe: str | None,
    overrides: Mapping[str, Value] | None,
    stored_as: StoredAs,
    seconds: float,
) -> NetworkSize:
    """The size of a config; the arguments are those of `asc.size`.

    Raises:
        InputError: the config or another argument is wrong.
    """
    changes = assignments({} if overrides is None else overrides)
    recipe = typed(str | None, recipe, "recipe")
    stored_as, seconds = typed(StoredAs, stored_as, "stored_as"), typed(float, seconds, "seconds")
    require(seconds > 0, f"seconds must be above 0, got {seconds:g}")
    if isinstance(config, Experiment):
        require(recipe is None, "give config or recipe, not both: a config is a whole network and its training")
        experiment = config.updated(dict(map(parse_assignment, changes)))
    else:
        path = None if config is None else str(a_path("config", config))
        experiment = experiment_from(
            recipe=recipe, config=path, overrides=changes, of_model=experiment_in, of_run=named.config
        )
    return NetworkSize(cost=cost(experiment, stored_as=stored_as, seconds=seconds))
