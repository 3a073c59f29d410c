"""Fetch, check and pack data sets.

python launch/data.py download tau2020 --to DIR
python launch/data.py verify tau2020:DIR
python launch/data.py pack tau2020:DIR
"""

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro

from asc.config import data_guess
from asc.config.front_end import FrontEnd
from asc.console import cli
from asc.launchers import command


@dataclass(frozen=True, kw_only=True)
class Download:
    """Download a data set from Zenodo, part by part. Existing files are skipped, and a broken transfer is resumed.

    Each archive is checked (size, md5, member names), unpacked into --to and then deleted. If files are missing later,
    or were deleted because they were damaged, the same command downloads only the archives that contain them. The sets
    tau...-eval are the challenges' evaluation sets, without labels.
    """

    name: Annotated[
        Literal[
            "tau2020",
            "tau2022",
            "tau2025",
            "tau2020-eval",
            "tau2021-eval",
            "tau2022-eval",
            "tau2023-eval",
            "tau2025-eval",
        ],
        tyro.conf.Positional,
    ]
    """TAU Urban Acoustic Scenes Mobile of this year; a development set is 27 GB, an evaluation set 9 to 21 GB. tau2025
    is tau2022 and the list of the 25 % of its training clips that DCASE 2025 allows."""
    to: Annotated[Path, cli.option("DIR")]
    """Folder in which to create the set's folder. Archives that are already in DIR/archives are used."""
    keep_archives: bool = False
    """Keep the archives in DIR/archives after unpacking them."""
    dry_run: bool = False
    """Only print what would be downloaded, the disk space that it needs, and whether there is enough."""
    url: Annotated[str | None, cli.option("URL")] = None
    """A mirror: the address before the archives' names. Sizes and md5 must still be the published ones."""
    quiet: bool = False
    """Print no progress: only results, and what went wrong."""
    json: bool = False
    """Print one JSON object on standard output."""


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check a data set against its metadata for missing, extra, damaged or contradictory files.

    Every file is decoded. Clips that are silent or nearly so, or whose channels cancel each other, are listed.

    The exit code is 0 if the set is complete and 2 if it is not.
    """

    spec: Annotated[str, tyro.conf.Positional, cli.option("SPEC")]
    """tau2020:DIR, tau2022:DIR or tau2025:DIR (DIR may be an evaluation set's folder), esc10:DIR, csv:FILE or
    folder:DIR."""
    group_from: Annotated[str | None, cli.option("REGEX")] = None
    """As for training; it is checked against the file names."""
    quiet: bool = False
    """Print no progress: only results, and what went wrong."""
    json: bool = False
    """Print one JSON object on standard output, with every name."""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Decode a data set into the store that training reads, which the first training would otherwise do."""

    spec: Annotated[str, tyro.conf.Positional, cli.option("SPEC")]
    """synthetic, esc10:DIR, csv:FILE, folder:DIR, tau2020:DIR, tau2022:DIR or tau2025:DIR."""
    split: Literal["development", "all"] = "development"
    """all: include the clips that only a final model trains on (in TAU, those in neither fold), in a separate store."""
    device_irs: Annotated[str | None, cli.option("DIR")] = None
    """Impulse responses to apply to the clips, as in training; the store then depends on --fold."""
    fold: int = 1
    """The test fold, to whose clips all devices are applied."""
    group_from: Annotated[str | None, cli.option("REGEX")] = None
    """As in training. It affects the store only with --device-irs, because a clip's split decides which devices are
    applied to it."""
    sample_rate_hz: Annotated[int, cli.option("HZ")] = FrontEnd().sample_rate_hz
    """Sample rate of the stored audio: front_end.sample_rate_hz of the configs that read it (44,100 by default)."""
    cache: Annotated[Path | None, cli.option("DIR")] = None
    """Folder for packed audio; by default $ASC_CACHE or ~/.cache/asc."""
    quiet: bool = False
    """Print no progress: only results, and what went wrong."""
    json: bool = False
    """Print one JSON object on standard output."""


Options = (
    Annotated[Download, tyro.conf.subcommand("download")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Pack, tyro.conf.subcommand("pack")]
)


Given = TypeVar("Given", Verify, Pack)


def main(options: Download | Verify | Pack) -> int:
    """Run the subcommand."""
    output = cli.Output(as_json=options.json, quiet=options.quiet)
    match options:
        case Download():
            return download(options, output)
        case Verify():
            return verify(_of_a_kind(options, output), output)
        case Pack():
            return pack(_of_a_kind(options, output), output)


def _of_a_kind(options: Given, output: cli.Output) -> Given:
    """The options with the kind of the data set, if it was guessed; it is said then."""
    output.notes(data_guess.note(options.spec))
    return dataclasses.replace(options, spec=data_guess.guessed(options.spec))


def download(options: Download, output: cli.Output) -> int:
    """Print what is needed, then download and unpack."""
    from asc.console.progress import transfers
    from asc.data.download import download as downloading
    from asc.data.download.packages import package_set
    from asc.data.download.record import listed

    packages = listed(package_set(options.name))
    plan = downloading.plan_download(packages, options.to, keep_archives=options.keep_archives)
    output.result(f"{packages.title} ({packages.licence})")
    output.result(plan.describe())
    plan.check_room()
    if not options.dry_run:
        try:
            with transfers(output.progress) as progress:
                downloading.download(plan, url=options.url, progress=progress)
        except KeyboardInterrupt:
            output.alert("interrupted; run the same command again to continue")
            raise
        output.result(f"{packages.name} is in {plan.root}")
        output.result(f"next: {command('data')} verify {packages.spec}:{plan.root}")
    else:
        output.result(f"next: {command('data')} download {packages.name} --to {options.to}")
    output.json(plan.as_json())
    return cli.DONE


def verify(options: Verify, output: cli.Output) -> int:
    """Check every file and print what is wrong."""
    from asc.console.progress import counting
    from asc.data.download import verify as verifying

    with counting(output.progress, "checking audio") as progress:
        found = verifying.verify(options.spec, group_from=options.group_from, progress=progress)
    for line in verifying.lines(found):
        output.result(line)
    output.json({**dataclasses.asdict(found), "whole": found.whole})
    if not found.whole:
        return cli.complain(verifying.advice(found))
    next_one = f"{command('search')} --budget-kb 128 --data" if "train" in found.parts else f"{command('data')} pack"
    groups = options.group_from or found.proposed_group_from
    output.result(f"{options.spec} is complete\nnext: {next_one} {spec_and_groups(options.spec, groups)}")
    return cli.DONE


def pack(options: Pack, output: cli.Output) -> int:
    """Pack the data set, unless it is packed already."""
    from asc.config.data_choice import DataChoice
    from asc.console.progress import packing
    from asc.data.dataset import default_cache
    from asc.data.manifest import load_manifest
    from asc.data.store import open_store

    manifest = load_manifest(
        DataChoice(
            options.spec,
            fold=options.fold,
            device_irs=options.device_irs,
            part=options.split,
            group_from=options.group_from,
        )
    )
    output.notes(manifest.warnings)
    with packing(output.progress) as bar:
        cache = options.cache or default_cache()
        store = open_store(manifest, sample_rate_hz=options.sample_rate_hz, cache=cache, progress=bar)
    output.result(f"{options.spec}: {len(store):,} clips at {store.sample_rate_hz:,} Hz in {store.folder}")
    output.result(f"{store.size_bytes:,} bytes")
    if manifest.labelled:
        output.result(
            f"next: {command('train')} --recipe qat_8b --data {spec_and_groups(options.spec, options.group_from)}"
        )
    else:
        output.result(f"next: {command('evaluate')} MODEL --data {options.spec} --split test")
    output.json({"spec": options.spec, "clips": len(store), "store": str(store.folder), "bytes": store.size_bytes})
    return cli.DONE


def spec_and_groups(spec: str, group_from: str | None) -> str:
    """Return the data set's arguments for the next command line."""
    return spec + (f" --group-from {shlex.quote(group_from)}" if group_from else "")


if __name__ == "__main__":
    cli.launch(main, Options, description="Fetch data sets, check them, and pack them for training.")
