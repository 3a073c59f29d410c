"""What a data set is and on which terms it may be used, for whoever takes away a model that was trained on it.

The table is `terms.toml`. Of a person's own recordings nothing is known, and that is said.
"""

import tomllib
from dataclasses import dataclass
from importlib import resources

from asc.errors import InputError
from asc.typed import build


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """One kind of data set. `sounds` says what its clips are of, `caution` what must stand beside figures on it."""

    title: str
    sounds: str
    licence: str
    source: str | None = None
    caution: str | None = None


def terms_of(spec: str) -> Terms:
    """The terms of a data set as `--data` names it.

    Raises:
        InputError: it is of no known kind.
    """
    table = tomllib.loads((resources.files("asc.data") / "terms.toml").read_text("utf-8"))
    kind = spec.partition(":")[0]
    if kind not in table:
        raise InputError(f"data {spec} is of no known kind: those known are {', '.join(table)}")
    return build(Terms, table[kind])
