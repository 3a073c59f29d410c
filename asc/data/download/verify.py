"""Verify that a data set on disk is complete: check its metadata, and find missing, extra and damaged files.

Every file is decoded to its end. A file is damaged if it is empty, unreadable or cut off. TAU's clips all have the same
rate and length (10 s or 1 s, some a few samples more), so a clip that differs from most of its set is damaged too.
Clips are compared with the rest of the set, not with the published length. So a set that was cut or resampled as a
whole passes, with a note.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median, mode

from asc.audio.audio_file import Heard, listen
from asc.audio.level_notes import Levels
from asc.audio.sound import Header
from asc.config.data_choice import DataChoice
from asc.data.download.download import was_downloaded
from asc.data.download.packages import package_sets
from asc.data.grouping import proposed_pattern
from asc.data.manifest import Manifest, load_manifest
from asc.data.packing import Progress
from asc.data.rows import Row
from asc.data.synthetic.synthetic import Synthetic
from asc.data.tau import EDITIONS, SPLIT25, Edition, Metadata, Problem, audio_files, find_root, read_metadata
from asc.errors import AudioProblem, InputError, some
from asc.launchers import command

_LENGTH_SHARE = 0.01
_TAU_HZ = 44_100
_TAU_S = {"tau2020": 10, "tau2022": 1, "tau2025": 1}
_PUBLISHED_CLIPS = {"tau2020": (23_035, 13_962, 2_968), "tau2022": (230_350, 139_620, 29_680)}  # all, train, test
_SPLIT25 = (0.249, 0.251)  # the share of the training clips of 2022; the list has whole segments of 10 s
_THREADS = 8  # fixed, since they mostly wait for the disk and not for a core


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """An unusable file, and the reason."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The result of a check. `wrong` lists faults of the metadata; paths are relative to `root`.

    `parts` and `devices` count the listed clips; the part "neither" is for clips in no part. `proposed_group_from` is
    the `--group-from` that a note proposes.
    """

    spec: str
    root: str
    listed: int
    parts: Mapping[str, int]
    devices: Mapping[str, int]
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    damaged: tuple[Damaged, ...] = ()
    wrong: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    proposed_group_from: str | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, extra, damaged or wrong."""
        return not (self.missing or self.extra or self.damaged or self.wrong)

    def summary(self) -> str:
        """Count the findings of each kind, in a few words."""
        kinds = {"missing": self.missing, "extra": self.extra, "damaged": self.damaged, "wrong metadata": self.wrong}
        return ", ".join(f"{len(names):,} {kind}" for kind, names in kinds.items() if names) or "no fault found"


def verify(spec: str, *, group_from: str | None = None, progress: Progress | None = None) -> Verified:
    """Verify a `--data` set; `progress` is called with (files checked, total files).

    Raises:
        InputError: the set does not exist or has no files (it is generated), or `group_from` does not fit its names.
    """
    scheme, _, place = spec.partition(":")
    edition = next((each for each in EDITIONS if each == scheme and place), None)
    if edition is None:
        return _verify_other(DataChoice(spec, group_from=group_from), progress)
    if group_from is not None:
        raise InputError(f"{spec} already has groups: leave --group-from {group_from} out")
    metadata = read_metadata(find_root(Path(place).expanduser(), edition), edition)
    there = audio_files(metadata.root)
    listed = tuple(dict.fromkeys(metadata.paths))
    present = [path for path in listed if path in there]
    heard = _heard(metadata.root, present, progress)
    damaged = _damaged(heard) | _outliers(heard)
    return Verified(
        spec=spec,
        root=str(metadata.root),
        listed=len(listed),
        parts=_parts(metadata),
        devices=_devices(metadata),
        missing=tuple(path for path in listed if path not in there),
        extra=tuple(sorted(there - set(listed))) if listed else (),
        damaged=tuple(Damaged(path=path, problem=damaged[path]) for path in present if path in damaged),
        wrong=metadata.problems,
        notes=(*_other_counts(metadata, edition), *_unlike_published(heard, _TAU_S[edition]), *_levels(heard)),
    )


def _verify_other(choice: DataChoice, progress: Progress | None) -> Verified:
    """Verify a set that is not TAU: its reader raises faults of its table; the listed files are checked here."""
    manifest, spec = load_manifest(choice), choice.spec
    if isinstance(manifest.source, Synthetic):
        raise InputError(f"{spec} is generated, so there is nothing to verify: give a set on disk, such as csv:FILE")
    heard = _heard(manifest.source, [clip.path for clip in manifest.clips], progress)
    damaged = _damaged(heard)
    return Verified(
        spec=spec,
        root=str(manifest.source),
        listed=len(manifest.clips),
        parts=dict(Counter("test" if clip.split == "test" else "train" for clip in manifest.clips)),
        devices=dict(sorted(Counter(clip.device for clip in manifest.clips).items())),
        damaged=tuple(Damaged(path=path, problem=problem) for path, problem in damaged.items()),
        notes=(*manifest.notes, *manifest.warnings, *_levels(heard)),
        proposed_group_from=_proposed(manifest),
    )


def _proposed(manifest: Manifest) -> str | None:
    """The pattern for `--group-from` that a warning of the manifest proposes."""
    if not any("--group-from" in warning for warning in manifest.warnings):
        return None
    rows = [
        Row(path=clip.path, label=clip.label or "", device=clip.device, group=clip.group) for clip in manifest.clips
    ]
    return proposed_pattern(rows)


def _levels(files: Mapping[str, Heard | AudioProblem]) -> tuple[str, ...]:
    levels = Levels()
    for path, heard in files.items():
        if isinstance(heard, Heard):
            levels.add(path, heard.peak, heard.loudest)
    return levels.lines()


def _parts(metadata: Metadata) -> dict[str, int]:
    if metadata.unlabelled:
        return {"test": len(metadata.unlabelled)}
    count = Counter(row.given or "neither" for row in metadata.rows)
    return {part: count[part] for part in ("train", "test", "neither") if count[part]}


def _devices(metadata: Metadata) -> dict[str, int]:
    named = metadata.unlabelled_devices or tuple(row.device for row in metadata.rows)
    return dict(sorted(Counter(named).items()))


def _heard(root: Path, paths: Sequence[str], progress: Progress | None) -> dict[str, Heard | AudioProblem]:
    found: dict[str, Heard | AudioProblem] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        heard = pool.map(lambda path: _listened(root / path), paths)
        for done, (path, each) in enumerate(zip(paths, heard, strict=True), start=1):
            found[path] = each
            if progress is not None:
                progress(done, len(paths))
    return found


def _listened(file: Path) -> Heard | AudioProblem:
    try:
        return listen(file)
    except AudioProblem as problem:
        return problem


def _damaged(files: Mapping[str, Heard | AudioProblem]) -> dict[str, str]:
    return {path: str(problem) for path, problem in files.items() if isinstance(problem, AudioProblem)}


def _outliers(files: Mapping[str, Heard | AudioProblem]) -> dict[str, str]:
    """Find files whose rate or length differs from most others."""
    good = {path: heard.header for path, heard in files.items() if isinstance(heard, Heard)}
    if not good:
        return {}
    rate_hz, length_s = _typical(list(good.values()))
    found: dict[str, str] = {}
    for path, header in good.items():
        seconds = header.samples / header.sample_rate_hz
        if header.sample_rate_hz != rate_hz:
            found[path] = f"{header.sample_rate_hz:,} Hz, but most of the set has {rate_hz:,} Hz"
        elif abs(seconds - length_s) > _LENGTH_SHARE * length_s:
            found[path] = f"{seconds:.3f} s long, but most of the set is {length_s:.3f} s"
    return found


def _typical(headers: Sequence[Header]) -> tuple[int, float]:
    return (
        mode(header.sample_rate_hz for header in headers),
        median(header.samples / header.sample_rate_hz for header in headers),
    )


def _other_counts(metadata: Metadata, edition: Edition) -> tuple[str, ...]:
    """Note if the clip counts of a development set differ from the published ones."""
    parts = _parts(metadata)
    found = (len(set(metadata.paths)), parts.get("train", 0), parts.get("test", 0))
    clips, train, test = _PUBLISHED_CLIPS["tau2022" if edition == "tau2025" else edition]
    if edition == "tau2025" and found[::2] == (clips, test):
        return _other_share(found[1], train)
    if metadata.unlabelled or found == (clips, train, test):
        return ()
    return (f"the published set lists {clips:,} clips, {train:,} of them train and {test:,} test: this one differs",)


def _other_share(listed: int, train: int) -> tuple[str, ...]:
    least, most = _SPLIT25
    if least <= listed / train <= most:
        return ()
    return (f"{SPLIT25} lists {listed:,} of {train:,} training clips ({listed / train:.1%}), not 25 %",)


def _unlike_published(files: Mapping[str, Heard | AudioProblem], published_s: float) -> tuple[str, ...]:
    good = [heard.header for heard in files.values() if isinstance(heard, Heard)]
    if not good:
        return ()
    rate_hz, length_s = _typical(good)
    if rate_hz == _TAU_HZ and abs(length_s - published_s) <= _LENGTH_SHARE * published_s:
        return ()
    return (
        f"the clips are {length_s:.3g} s at {rate_hz:,} Hz, the published ones {published_s:g} s at {_TAU_HZ:,} Hz",
    )


def lines(verified: Verified, at_most: int = 5) -> list[str]:
    """Describe the findings: counts, and the first `at_most` names of each kind."""
    parts = ", ".join(f"{count:,} {part}" for part, count in verified.parts.items())
    told = [f"{verified.root}: {verified.listed:,} clips listed ({parts})"]
    if set(verified.devices) > {"unknown"} or len(verified.devices) > 1:
        told.append("devices: " + ", ".join(f"{name} {count:,}" for name, count in verified.devices.items()))
    told += [f"note: {note}" for note in verified.notes]
    told += [f"wrong: {problem}" for problem in verified.wrong]
    for kind, names in (("missing", verified.missing), ("extra", verified.extra)):
        told += [f"{kind}: {len(names):,} file(s): {some(names, at_most)}"] if names else []
    if verified.damaged:
        named = (f"{each.path} ({each.problem})" for each in verified.damaged)
        told.append(f"damaged: {len(verified.damaged):,} file(s): {some(named, at_most)}")
    return told


def advice(verified: Verified) -> str:
    """Say, for an incomplete set, what is wrong and what to do."""
    found = f"{verified.spec} is not complete ({verified.summary()})"
    scheme = verified.spec.partition(":")[0]
    if scheme not in EDITIONS:
        return f"{found}: repair these files or leave them out"
    steps = []
    if verified.wrong:
        steps.append(f"check that it is a set of {scheme} and restore its published metadata")
    bad = [kind for kind, names in {"damaged": verified.damaged, "extra": verified.extra}.items() if names]
    if bad:
        steps.append(f"delete the {' and '.join(bad)} files")
    if verified.missing or verified.damaged:
        steps.append(_fetching(Path(verified.root), scheme))
    return f"{found}: {', then '.join(steps)}"


def _fetching(root: Path, scheme: str) -> str:
    name = next((each.name for each in package_sets() if each.root == root.name and each.spec == scheme), None)
    if name is None or not was_downloaded(root.parent):
        return f"restore the missing files, or fetch the set with {command('data')} download"
    return f"run {command('data')} download {name} --to {root.parent}, which fetches only the parts with missing files"
