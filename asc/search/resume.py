"""The settings, the space and the budget of a search: of a new one from its options, of an old one from its journal."""

from collections.abc import Mapping

from asc.budget import rule
from asc.errors import InputError
from asc.journal import RunRecord
from asc.search.repair import Budget
from asc.search.settings import RESUMABLE, SearchSettings, settings_from
from asc.space import Space, parse_space
from asc.typed import Scalar


def resumed_settings(record: RunRecord, given: Mapping[str, Scalar]) -> SearchSettings:
    """The settings of a search that goes on; `given` holds options of this command line.

    Raises:
        InputError: the run is no search, or an option is given that cannot change in mid-search.
    """
    if record.started.kind != "search":
        raise InputError(f"{record.started.name} is a training, not a search: resume it with launch/train.py")
    before = settings_from(record.started.settings, *(resumed.settings for resumed in record.resumed))
    for key, value in given.items():
        if key not in RESUMABLE and getattr(before, key) != value:
            allowed = ", ".join(f"--{name.replace('_', '-')}" for name in RESUMABLE)
            raise InputError(
                f"--{key.replace('_', '-')} is {getattr(before, key)} in {record.started.name} and cannot change on "
                f"--resume: leave it out (these can change: {allowed})"
            )
    return settings_from(before.scalars(), given)


def resumed_space(record: RunRecord) -> Space:
    """The space that the search was started with, as its journal holds it."""
    name, _, text = (record.started.space or "").partition("\n")
    return parse_space(text, source=f"the journal of {record.started.name}", name=name)


def journalled_space(space: Space) -> str:
    """A space as one text for the journal: its name, then the file."""
    return f"{space.name}\n{space.text}"


def budget_of(settings: SearchSettings) -> Budget:
    """The budget that the settings name.

    Raises:
        InputError: no such rule.
    """
    return Budget(rule=rule(settings.rule), kilobytes=settings.budget_kb)
