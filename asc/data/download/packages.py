"""The archives that a public data set comes in: where they are, their sizes and md5, what they take unpacked.

The table is `tau_packages.toml`, from Zenodo's records and dcase_util (https://github.com/DCASE-REPO/dcase_util).
"""

import tomllib
from dataclasses import dataclass
from importlib import resources

from asc.errors import InputError
from asc.typed import build


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One archive."""

    file: str
    size_bytes: int
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSet:
    """A data set as its archives: all unpack into the folder `root`. `spec` is how `--data` names its kind.

    `unpacked_bytes` is about what all of it takes unpacked.
    """

    name: str
    title: str
    spec: str
    url: str
    licence: str
    root: str
    unpacked_bytes: int
    packages: tuple[Package, ...]

    @property
    def size_bytes(self) -> int:
        """All archives together."""
        return sum(package.size_bytes for package in self.packages)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    sets: tuple[PackageSet, ...]


def package_sets() -> tuple[PackageSet, ...]:
    """Every data set that `launch/data.py download` knows."""
    text = resources.files("asc.data.download").joinpath("tau_packages.toml").read_text("utf-8")
    return build(_Table, tomllib.loads(text)).sets


def package_set(name: str) -> PackageSet:
    """The data set of this name.

    Raises:
        InputError: there is none.
    """
    sets = {each.name: each for each in package_sets()}
    if name not in sets:
        raise InputError(f"there is no data set {name} to download: choose one of {', '.join(sets)}")
    return sets[name]
