"""The archives of public data sets: their addresses, sizes, md5 and unpacked sizes.

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
    """The archives of a data set. All unpack into the folder `root`. `spec` is the kind of set for `--data`.

    `unpacked_bytes` is the approximate size of the whole set unpacked.
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
        """Total size of the archives."""
        return sum(package.size_bytes for package in self.packages)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    sets: tuple[PackageSet, ...]


def package_sets() -> tuple[PackageSet, ...]:
    """Return every data set that `launch/data.py download` can fetch."""
    text = resources.files("asc.data.download").joinpath("tau_packages.toml").read_text("utf-8")
    return build(_Table, tomllib.loads(text)).sets


def package_set(name: str) -> PackageSet:
    """Return the data set with this name.

    Raises:
        InputError: there is no such data set.
    """
    sets = {each.name: each for each in package_sets()}
    if name not in sets:
        raise InputError(f"there is no data set {name} to download: choose one of {', '.join(sets)}")
    return sets[name]
