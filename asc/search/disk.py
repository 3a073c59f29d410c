"""An upper bound on the disk space of a search, computed from its configs before it starts, and a check for room.

The bound has three parts: the packed audio in the cache, at every sample rate that a trial may have; the checkpoints of
the trials that run at the same time, and of all trials if they pause (`--asha promotion`); and what is kept of every
trial, namely its model, its lines in the journal, the leaderboards and the report page, and its rows in MLflow's
database. The sizes of checkpoints and models are those of
the largest network that the space and the budget allow. The other figures were measured on searches of 4 to 12 trials
with 24 to 240 epochs in all, and are rounded up:

- the journal: 302 to 307 bytes per epoch; 500 bytes per trial, plus twice its config
- MLflow's database: 0.95 MB empty, 16.3 KB per trial with a config of 37 keys, 1.4 KB per epoch; up to 0.2 MB for
  its own journal while it writes
- the best model in MLflow's registry: 0.34 MB beside the model file, nearly all of it asc's code to serve the model
- leaderboards: 0.8 KB per trial; Ray Tune's own state, removed at the end: 28 to 32 KB per trial
- the report page: 1.98 MB, nearly all of it Plotly's library, and 1.0 KB per trial of 12 epochs; MLflow has a copy
- the evaluation of the best network: 0.1 MB of pictures and tables; and the sound of misclassified clips, here and on
  the page, 5.3 KB per second of at most 5 s a clip, at most 1.34 MB in all (`asc.report.mistakes`)
- a model file: its tensors and its header (`asc.size.file_layout`)

A final takes what a trial takes, with the epochs of its own schedule. A larger teacher takes as many times that as it
is larger than the budget. Soft labels take four bytes per clip and class, for each teacher and for their mean.

Ray's logs, under /tmp/ray, are not counted.
"""

import dataclasses
import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asc.config.experiment import Experiment
from asc.config.space import FloatRange, IntRange
from asc.data.store import store_size
from asc.errors import InputError, counted
from asc.models.build import build_network
from asc.search.plan import SearchPlan
from asc.search.preview import drawn
from asc.search.repair import Candidate, repair
from asc.search.settings import MOST_REFUSALS, SearchSettings
from asc.size.file_layout import LENGTH_BYTES, header_bytes
from asc.size.rules import counted_bytes, limit_bytes
from asc.size.stored_items import stored_items
from asc.topology.describe import NARROWED
from asc.training.prune import prunable_weights

_DRAWS = 100
_FILLED = 1.5
_TENSOR, _CHECKPOINT_HEADER, _EPOCH_IN_CHECKPOINT = 150, 1500, 240
_JOURNAL_EPOCH, _JOURNAL_TRIAL, _REFUSAL = 330, 900, 600
_LEADERBOARDS_TRIAL, _TUNE_TRIAL, _BLOCK = 1600, 40_000, 4096
_MLFLOW, _MLFLOW_TRIAL, _MLFLOW_KEY, _MLFLOW_EPOCH = 1_200_000, 6000, 350, 1500
_REGISTERED = 500_000
_PAGE, _PAGE_TRIAL, _PAGE_EPOCH = 2_100_000, 1000, 40
_EVALUATION, _SOUND, _SOUND_SECOND, _SOUND_CLIP = 200_000, 1_360_000, 8000, 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Upper bounds in bytes: the packed audio, the files that exist only while the search runs, and what is kept.

    `audio_bytes` are those of all sample rates, of which `packed_bytes` are there; `rates_to_pack` are the others.
    """

    audio_bytes: int
    packed_bytes: int
    rates_to_pack: tuple[int, ...]
    running_bytes: int
    kept_bytes: int

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of the audio that must still be packed."""
        return self.audio_bytes - self.packed_bytes

    @property
    def total_bytes(self) -> int:
        """The sum; audio that is already packed needs no more room."""
        return self.running_bytes + self.kept_bytes + self.unpacked_bytes


def need(plan: SearchPlan, cache: Path, *, ended: int = 0, ended_finals: int = 0) -> Need:
    """What a search still needs, when some of its trials and finals ended in an earlier process."""
    stores = {rate: store_size(plan.manifest, sample_rate_hz=rate, cache=cache) for rate in plan.sample_rates_hz}
    largest, scale = _largest(plan)
    longest = _longest_schedule(plan, largest.experiment)
    last, best = _checkpoint_bytes(longest)
    model = round(scale * _model_bytes(plan, largest))
    trials = max(0, plan.settings.trials - ended)
    finals = max(0, plan.settings.finals - ended_finals)
    # A new file is written beside the old one before it replaces it, so the last checkpoint briefly exists twice.
    at_a_time = min(plan.settings.max_concurrent, max(trials, finals)) * (round(scale * (2 * last + best)) + model)
    at_a_time = round(at_a_time * _larger(plan.settings))
    if plan.settings.asha == "promotion":
        at_a_time += trials * round(scale * (last + best))
    kept = trials * (model + _trial_bytes(plan, plan.base)) + finals * (model + _trial_bytes(plan, longest))
    kept += round(plan.settings.teachers * (_larger(plan.settings) * model + _trial_bytes(plan, longest)))
    kept += _soft_labels_bytes(plan)
    sound = _sound_bytes(plan, {rate: store.size_bytes for rate, store in stores.items()})
    kept += 2 * (_EVALUATION + sound)  # an earlier one is replaced
    kept += 5 * model + _refused_bytes(plan, trials) + len(plan.space.text)
    return Need(
        audio_bytes=sum(store.size_bytes for store in stores.values()),
        packed_bytes=sum(store.size_bytes for store in stores.values() if store.there),
        rates_to_pack=tuple(rate for rate, store in stores.items() if not store.there),
        running_bytes=at_a_time + (trials + finals + plan.settings.teachers) * _TUNE_TRIAL,
        kept_bytes=kept + _pages_bytes(plan, trials, sound) + (_MLFLOW + _REGISTERED if _own_database(plan) else 0),
    )


def describe(found: Need, plan: SearchPlan, *, cache: Path, storage: str) -> str:
    """The need in one printed line."""
    where = f"{cache}{'' if plan.settings.local else ' of each node'}"
    rates = f" at {len(plan.sample_rates_hz)} sample rates" if len(plan.sample_rates_hz) > 1 else ""
    models = "trial and final" if plan.settings.finals else "trial"
    to_pack = f"{_size(found.unpacked_bytes)} of packed audio{rates} in {where}, "
    packed = f"; the {_size(found.packed_bytes)} of audio in {where} are packed already"
    return (
        f"disk: at most {_size(found.total_bytes)}: "
        f"{to_pack if found.rates_to_pack else ''}"
        f"{_size(found.running_bytes)} while it runs (checkpoints of {_with_checkpoints(plan.settings)}) "
        f"and {_size(found.kept_bytes)} kept in {storage} (a model of each {models}, journal, tracking)"
        f"{packed if found.packed_bytes else ''}"
    )


def _with_checkpoints(settings: SearchSettings) -> str:
    """How many trials have checkpoints at the same time, in words."""
    if settings.asha == "promotion":
        return f"up to {settings.trials} trials, which pause"
    return f"{counted(settings.max_concurrent, 'trial')} at a time"


def check_room(found: Need, *, cache: Path, storage: Path) -> None:
    """Check that the file systems of `cache` and `storage` have room for the search.

    Raises:
        InputError: one of them does not.
    """
    wanted: dict[int, tuple[Path, int]] = {}
    for folder, size in ((storage, found.running_bytes + found.kept_bytes), (cache, found.unpacked_bytes)):
        place = next(place for place in (folder.resolve(), *folder.resolve().parents) if place.exists())
        before = wanted.get(place.stat().st_dev, (place, 0))
        wanted[place.stat().st_dev] = (before[0], before[1] + size)
    for place, size in wanted.values():
        free = shutil.disk_usage(place).free
        if size > free:
            raise InputError(
                f"the search needs up to {_size(size)}, but {place} has {_size(free)} free: "
                "make room there, give fewer --trials, or name another --storage or --cache"
            )


def as_json(found: Need) -> dict[str, Any]:
    """The figures as one JSON object, in bytes; `audio_there` says that all audio is packed already."""
    return {**dataclasses.asdict(found), "audio_there": not found.rates_to_pack, "total_bytes": found.total_bytes}


def _largest(plan: SearchPlan) -> tuple[Candidate, float]:
    """The largest network found at the upper bounds of all widths, and a factor (>= 1) for larger ones that may fit."""
    rng, budget, space = random.Random(1), plan.budget, plan.space
    widest = {
        key: parameter.high
        for key, parameter in space.sampled.items()
        if key.startswith(NARROWED) and isinstance(parameter, IntRange)
    }
    points = [{}, *({**space.sample(rng), **widest} for _ in range(_DRAWS))]
    found = [candidate for point in points if (candidate := repair(plan.base, space, point, budget)) is not None]
    # If few points fit, none of these may. The preview drew more points, and at least one of them fits.
    found = found or drawn(plan.base, space, budget)

    def larger(candidate: Candidate) -> float:
        # Narrowing moves in steps and may leave part of the budget unused, which other widths could fill.
        room = limit_bytes(budget.rule, budget.kilobytes) / counted_bytes(budget.rule, candidate.cost.stored)
        return min(_FILLED, max(1.0, room)) if candidate.narrowed else 1.0

    largest = max(found, key=lambda candidate: candidate.cost.stored.parameters * larger(candidate))
    return largest, larger(largest)


def _checkpoint_bytes(experiment: Experiment) -> tuple[int, int]:
    """Bytes of the last checkpoint at the end of training (network, Adam, masks) and of the best one (network)."""
    network = build_network(
        experiment.architecture, experiment.front_end, seed=0, storage=experiment.compression.storage
    )
    items = stored_items(experiment)
    state, parameters = list(network.state_dict().values()), list(network.parameters())
    masks = list(prunable_weights(network, items).values()) if experiment.compression.prune_ratio > 0 else []
    header = _CHECKPOINT_HEADER + _EPOCH_IN_CHECKPOINT * experiment.schedule.epochs
    best = sum(tensor.nbytes for tensor in state) + _TENSOR * len(state) + header
    adam = sum(2 * parameter.nbytes + 4 for parameter in parameters) + 3 * _TENSOR * len(parameters)
    return best + adam + sum(mask.numel() + _TENSOR for mask in masks), best


def _model_bytes(plan: SearchPlan, largest: Candidate) -> int:
    """Bytes of a model file: stored tensors, zeros included, and the header."""
    header = LENGTH_BYTES + header_bytes(plan.base.architecture.classes)
    return header + largest.cost.stored.size_bytes + _BLOCK


def _longest_schedule(plan: SearchPlan, experiment: Experiment) -> Experiment:
    """A network with the schedule of the finals, if there are any; their checkpoints have the longest headers."""
    settings, own = plan.settings, experiment.schedule
    if settings.final_cycles is None or settings.final_epochs is None:
        return experiment
    if settings.final_cycles * settings.final_epochs <= own.epochs:
        return experiment
    return experiment.updated(
        {
            "schedule.cycles": settings.final_cycles,
            "schedule.epochs_per_cycle": settings.final_epochs,
            "schedule.cycle_growth": 1,
        }
    )


def _larger(settings: SearchSettings) -> float:
    """How many times larger than the networks of the search its teachers are."""
    return 1.0 if settings.teacher_kb is None else settings.teacher_kb / settings.budget_kb


def _soft_labels_bytes(plan: SearchPlan) -> int:
    """Bytes of the soft labels of each teacher and of their mean, with the names of the clips; they are kept."""
    settings = plan.settings
    if not settings.distil and settings.teacher_logits is None:
        return 0
    names = sum(len(clip.path) + 8 for clip in plan.manifest.clips)
    each = 4 * len(plan.manifest.clips) * len(plan.manifest.labels) + names + _BLOCK
    return each * (1 + (settings.final_top + settings.teachers if settings.distil else 0))


def _trial_bytes(plan: SearchPlan, experiment: Experiment) -> int:
    """Bytes kept of a trial beside its model; all trials have the schedule of `experiment`."""
    config = plan.base.flat()
    epochs = experiment.schedule.epochs
    journal = _JOURNAL_TRIAL + 2 * len(json.dumps(config)) + _JOURNAL_EPOCH * epochs
    rows = _MLFLOW_TRIAL + _MLFLOW_KEY * len(config) + _MLFLOW_EPOCH * epochs if _own_database(plan) else 0
    return journal + rows + _LEADERBOARDS_TRIAL


def _sound_bytes(plan: SearchPlan, audio_bytes: Mapping[int, int]) -> int:
    """Bytes of the sound of all validation clips, half as long again as the mean clip; `audio_bytes` by sample rate."""
    rate_hz, stored = next(iter(audio_bytes.items()))
    mean_s = stored / (2 * rate_hz * len(plan.manifest.clips))
    each = _SOUND_CLIP + _SOUND_SECOND * min(5.0, 1.5 * mean_s)
    return min(_SOUND, round(plan.manifest.count("valid") * each))


def _pages_bytes(plan: SearchPlan, trials: int, sound: int) -> int:
    """Bytes of the report page beside the one that it replaces, and of MLflow's copy if that is on this machine."""
    each = _PAGE_TRIAL + _PAGE_EPOCH * plan.base.schedule.epochs
    return (_PAGE + sound + trials * each) * (3 if _own_database(plan) else 2)


def _refused_bytes(plan: SearchPlan, trials: int) -> int:
    """Journal bytes of refused points: twice those expected, plus the refusals that exhaust a finite space."""
    share = plan.preview.repairable_share
    finite = not any(isinstance(parameter, FloatRange) for parameter in plan.space.sampled.values())
    return round(_REFUSAL * (2 * trials * (1 - share) / share + (MOST_REFUSALS if finite else 0)))


def _own_database(plan: SearchPlan) -> bool:
    """Whether MLflow's database is a file on this machine."""
    return (plan.settings.mlflow_uri or "sqlite:").startswith("sqlite:")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
