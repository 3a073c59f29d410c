"""The model card: one Markdown page about a model file, for its users.

After Mitchell et al. 2019, "Model Cards for Model Reporting" (https://arxiv.org/abs/1810.03993): what the model is and
how to use it, its figures by group and with intervals, its data, its intended use and its limits. Everything comes from
the model file except the run that produced it (`Origin`).
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from asc.config.experiment import Schedule
from asc.console.evaluation_text import sheets
from asc.console.sheet import as_markdown, escaped
from asc.console.tables import rules_sheet, size_sheet
from asc.data.terms import Terms, terms_of
from asc.evaluation.caveats import of_own_figures
from asc.model_file.model_info import ModelInfo
from asc.runs.finals import Finals, finals_of
from asc.runs.record import RunRecord
from asc.size.law import Cost, cost
from asc.topology.describe import kind_of

EXPORTS = "## Exports"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The run that a model comes from, as far as it is known.

    The model of a search is the best of `completed` networks, all within `budget_kb` under its accounting `rule`.
    `finals` is given if it is the winner of the search's finals.
    """

    run: str | None = None
    kind: Literal["search", "train"] = "train"
    completed: int = 1
    budget_kb: float = 128
    rule: str | None = None
    git_commit: str | None = None
    finals: Finals | None = None


def origin(record: RunRecord) -> Origin:
    """The origin of a run's model, from the run's journal."""
    started, finals = record.started, finals_of(record)
    budget_kb, rule = started.settings.get("budget_kb", Origin().budget_kb), started.settings.get("rule")
    assert isinstance(budget_kb, int | float) and isinstance(rule, str | None), "a search saves them with these types"
    return Origin(
        run=started.name,
        kind=started.kind,
        completed=max(1, len(record.completed())),
        budget_kb=budget_kb,
        rule=rule,
        git_commit=started.git_commit,
        finals=None if finals is None or finals.winner is None else finals,
    )


def model_card(info: ModelInfo, origin: Origin) -> str:
    """Return the page. The same model file and run always give the same text.

    Raises:
        InputError: the model file names an unknown kind of data.
    """
    terms = terms_of(info.data.choice.spec)
    experiment = info.experiment
    size = cost(experiment)
    parts = [*_what(info, terms, size, origin), *_use(info), *_figures(info, terms), *_size(size, origin)]
    parts += [*_training(info, terms, origin), *_limits(info, terms)]
    return "\n".join(line.rstrip() for part in parts for line in part.splitlines() + [""])


def with_exports(card: str, said: Mapping[str, str]) -> str:
    """Add or replace the line of each exported file, given by name; other files of the section keep their lines."""
    page, _, after = card.partition(f"\n{EXPORTS}\n")
    section, *rest = after.split("\n## ", maxsplit=1)
    lines = {line.split("`")[1]: line for line in section.splitlines() if line.startswith("- `")}
    lines |= {name: f"- `{name}`: {text}" for name, text in said.items()}
    parts = [page.rstrip(), EXPORTS, "\n".join(lines.values()), *(f"## {part.strip()}" for part in rest)]
    return "\n\n".join(parts) + "\n"


def _what(info: ModelInfo, terms: Terms, size: Cost, origin: Origin) -> Iterator[str]:
    storage = {"int8": "An 8-bit", "float16": "A 16-bit"}[info.experiment.compression.storage]
    rule = f" (rule {origin.rule})" if origin.rule else ""
    best = (
        f", the best of {origin.completed} that a search trained within {origin.budget_kb:g} KB{rule}"
        if origin.kind == "search"
        else ""
    )
    yield f"# {escaped(origin.run or 'A model of asc')}"
    yield (
        f"Tells {len(info.labels)} classes of {terms.sounds} apart: {escaped(', '.join(info.labels))}. {storage} "
        f"{kind_of(info.experiment.architecture)} of {size.stored.nonzero_bytes:,} bytes, in a file of "
        f"{size.stored.file_bytes:,}, made with "
        f"asc{best}."
    )
    if origin.finals is not None:
        yield _retrained(origin.finals)


def _retrained(finals: Finals) -> str:
    """How the finals of a search chose this network; its own figures are those of the seed that was saved."""
    winner, shipped = finals.winner, finals.shipped
    assert winner is not None and shipped is not None and shipped.confirmed is not None, "see `origin`"
    spread = "" if winner.deviation is None else f" ± {winner.deviation:.3f}"
    best, seeds = len(finals.standings), len(finals.chosen.seeds)
    return (
        f"That search retrained its best {'network' if best == 1 else f'{best} networks'} with {seeds} "
        f"seed{'s' * (seeds != 1)} each, and judged {'it' if best == 1 else 'them'} on {shipped.confirmed.clips} clips "
        f"of locations that it had not used. {_how_many(finals)}Of the networks with the most seeds trained, this one "
        f"{_won(finals)}: {winner.log_loss:.3f}{spread} (in the search, on validation: "
        f"{winner.search_log_loss:.3f}). This file holds seed {shipped.seed}, "
        "the best of its seeds on validation."
    )


def _won(finals: Finals) -> str:
    """By which figure the winner won, ready for its mean log loss."""
    if finals.rank_by == "log_loss":
        return "had the lowest mean log loss there"
    return "had the highest mean accuracy there, with this mean log loss"


def _how_many(finals: Finals) -> str:
    """How many trainings were lost, as a sentence; empty if none was."""
    trained = len(finals.asked) - len(finals.lost)
    return f"{trained} of these {len(finals.asked)} trainings came to their end. " if finals.lost else ""


def _use(info: ModelInfo) -> Iterator[str]:
    front_end, crop_s = info.experiment.front_end, info.experiment.augment.crop_s
    yield "## Use"
    yield (
        '    import asc\n    model = asc.load("model.safetensors")\n    print(model.predict(waveform, sample_rate_hz))'
    )
    yield (
        f"Input: a waveform, (samples,) or (channels, samples), of full scale 1 and any rate. It is averaged to mono, "
        f"resampled to {front_end.sample_rate_hz:,} Hz, rounded to 16 bits with its peak at full scale and turned into "
        f"{front_end.mel_bands} log-mel bands every {front_end.hop_s * 1000:g} ms (windows of "
        f"{front_end.window_s * 1000:g} ms). All of this is in the file. It "
        f"was trained on crops of {crop_s:g} s."
    )
    yield (
        "As an MLflow model it takes rows of `waveform` (mono, a list of numbers of full scale 1) and "
        "`sample_rate_hz`, and answers each with `label`, its `probability`, and `probabilities`: an object with a "
        "number for every label."
    )


def _figures(info: ModelInfo, terms: Terms) -> Iterator[str]:
    calibration = info.calibration
    mark = ", optimistic" if calibration is not None and calibration.optimistic else ""
    mark += ", clips that were trained on" if info.data.choice.part == "all" else ""
    for sheet in sheets(info.evaluation, mark=mark):
        yield as_markdown(dataclasses.replace(sheet, title=sheet.title.replace("valid split", "Validation", 1)))
    notes = [*of_own_figures(info), *([terms.caution] if terms.caution else [])]
    yield "\n".join(f"- {note[0].upper()}{note[1:]}." for note in notes)


def _size(size: Cost, origin: Origin) -> Iterator[str]:
    yield as_markdown(size_sheet(size))
    yield as_markdown(rules_sheet(size, origin.budget_kb))
    yield (
        f"{size.macs_per_second / 1e6:.1f} million multiply-accumulates per second of audio; "
        f"{size.peak_activation_bytes:,} bytes of activations at the peak, for 10 s."
    )


def _training(info: ModelInfo, terms: Terms, origin: Origin) -> Iterator[str]:
    choice, schedule = info.data.choice, info.experiment.schedule
    source = f", {terms.source}" if terms.source else ""
    devices = "" if choice.device_irs is None else " Heard through measured microphones (MicIRP), as nine devices."
    splits = "all clips" if choice.part == "all" else f"fold {choice.fold}, data seed {choice.data_seed}"
    splits += "" if choice.group_from is None else f", sources by the pattern `{choice.group_from}`"
    yield "## Data and training"
    yield (
        f"- Data: {terms.title} ({splits}){source}. Licence: {terms.licence}.{devices}\n"
        f"- Digest of the data: `{info.data.digest}`.\n"
        f"- Schedule: {_cycles(schedule)} epochs, batches of {schedule.batch_size}, seed "
        f"{info.experiment.seed}; config `{info.experiment.fingerprint}`, which the model file holds in full."
        + _teachers(info)
        + (f"\n- Code: commit `{origin.git_commit}`." if origin.git_commit else "")
    )


def _teachers(info: ModelInfo) -> str:
    """Who taught the network, as another line of the list; empty if nobody did."""
    if info.taught is None:
        return ""
    names, learned = escaped(", ".join(map(str, info.taught.teachers))), info.experiment.distillation
    return (
        f"\n- Teachers: {names}. Their soft labels (digest `{info.taught.digest}`) have a weight of "
        f"{learned.weight:g} in the loss, at temperature {learned.temperature:g}."
    )


def _cycles(schedule: Schedule) -> str:
    """The lengths of the cycles: `3 x 10`, or `1 + 4 + 16` if they grow."""
    if schedule.cycle_growth == 1:
        return f"{schedule.cycles} x {schedule.epochs_per_cycle}"
    return " + ".join(map(str, schedule.cycle_lengths))


def _limits(info: ModelInfo, terms: Terms) -> Iterator[str]:
    heard = [row.name for row in info.evaluation.per_device]
    devices = f"a device other than {', '.join(heard)}" if len(heard) > 1 else "another device than that of the data"
    yield "## Intended use and limits"
    yield (
        f"- For recordings like those of its data, of these {len(info.labels)} classes. It always names one of them, "
        "whatever it hears.\n"
        f"- Nothing is known of {devices}, nor of other places: expect more errors there.\n"
        "- Its probabilities are off by the calibration error above, on average.\n"
        "- Not for decisions about people or safety: nothing of the kind was tested."
        + (
            "\n- The data are not for commercial use; whether that binds a network trained on them, asc cannot say."
            if "non-commercial" in terms.licence
            else ""
        )
    )
