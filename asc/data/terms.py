"""The description and terms of use of a data set, for users of a model that was trained on it.

The table is `terms.toml`. For a user's own recordings it says that the terms are unknown.
"""

import tomllib
from dataclasses import dataclass
from importlib import resources

from asc.errors import InputError
from asc.typed import build


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """One kind of data set. `sounds` describes its clips; `caution` must be shown with figures measured on it."""

    title: str
    sounds: str
    licence: str
    source: str | None = None
    caution: str | None = None


def terms_of(spec: str) -> Terms:
    """Look up the terms of a data set by its `--data` spec.

    Raises:
        InputError: the kind of data set is unknown.
    """
    table = tomllib.loads((resources.files("asc.data") / "terms.toml").read_text("utf-8"))
    kind = spec.partition(":")[0]
    if kind not in table:
        raise InputError(f"data {spec} is of an unknown kind: write one of {', '.join(table)}")
    return build(Terms, table[kind])
