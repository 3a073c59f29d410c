"""The archives of public data sets: their addresses, sizes, md5 and unpacked sizes.

The table is `tau_packages.toml`, from Zenodo's records and dcase_util (https://github.com/DCASE-REPO/dcase_util). Where
it has no sizes and md5 of a set, `asc.data.download.record` asks Zenodo for them.
"""

import tomllib
from dataclasses import dataclass, replace
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
class ClipList:
    """A list of clips that others than the authors of the set publish: a table with a column `filename`.

    `file` is its place below the root of the set. Its size and md5 are not published: reading the set checks its clips.
    """

    file: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSet:
    """The archives of a data set. All unpack into the folder `root`. `spec` is the kind of set for `--data`.

    `unpacked_bytes` is the approximate size of the whole set unpacked. `lists` are fetched beside the archives. A set
    with a `record` has no `packages` until `asc.data.download.record.listed` has asked for those called `names`.
    """

    name: str
    title: str
    spec: str
    url: str
    licence: str
    root: str
    unpacked_bytes: int = 0
    packages: tuple[Package, ...] = ()
    lists: tuple[ClipList, ...] = ()
    record: str | None = None
    names: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Total size of the archives."""
        return sum(package.size_bytes for package in self.packages)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extended:
    """A set that consists of the archives of another one and of lists."""

    name: str
    title: str
    spec: str
    of: str
    lists: tuple[ClipList, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    sets: tuple[PackageSet, ...]
    extended: tuple[_Extended, ...]


def package_sets() -> tuple[PackageSet, ...]:
    """Return every data set that `launch/data.py download` can fetch."""
    text = resources.files("asc.data.download").joinpath("tau_packages.toml").read_text("utf-8")
    table = build(_Table, tomllib.loads(text))
    sets = {each.name: each for each in table.sets}
    extended = (
        replace(sets[each.of], name=each.name, title=each.title, spec=each.spec, lists=each.lists)
        for each in table.extended
    )
    return (*table.sets, *extended)


def package_set(name: str) -> PackageSet:
    """Return the data set with this name.

    Raises:
        InputError: there is no such data set.
    """
    sets = {each.name: each for each in package_sets()}
    if name not in sets:
        raise InputError(f"there is no data set {name} to download: choose one of {', '.join(sets)}")
    return sets[name]
