"""How much disk a search needs at most, from its configs alone, and whether there is room: said before it starts.

Three parts: the packed audio in the cache; the checkpoints of the trials that run at a time; and what is kept, for
every trial its model, its lines in the journal and the leaderboards, its rows in MLflow's database. What a checkpoint
and a model take is counted on the largest network that the space and the budget allow; the other figures were measured
on searches of 4 to 12 trials with 24 to 240 epochs in all, and are rounded up:

- the journal: 302 to 307 bytes an epoch; a trial 500 bytes, and twice its config
- MLflow's database: 0.95 MB empty, 16.3 KB a trial with a config of 37 keys, 1.4 KB an epoch; while it writes, a
  journal of its own of up to 0.2 MB
- the best model in MLflow's registry: 0.6 MB beside the model file, nearly all of it the code of asc that serves it
- leaderboards: 0.8 KB a trial; Ray Tune's own state, removed at the end: 28 to 32 KB a trial
- a model beside its tensors: its header (`asc.size.file_layout`)

Ray's logs, below /tmp/ray, are not in it.
"""

import dataclasses
import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from asc.config.experiment import Experiment
from asc.config.space import FloatRange, IntRange
from asc.data.store import store_size
from asc.errors import InputError
from asc.models.build import build_network
from asc.search.preview import Plan, drawn
from asc.search.repair import Candidate, repair
from asc.search.settings import MOST_REFUSALS
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
_REGISTERED = 800_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Bytes of a search, at most: the packed audio, what there is only while it runs, and what is kept of it."""

    audio_bytes: int
    audio_there: bool
    running_bytes: int
    kept_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it; audio that is packed already takes no more room."""
        return self.running_bytes + self.kept_bytes + (0 if self.audio_there else self.audio_bytes)


def need(plan: Plan, cache: Path, *, ended: int = 0) -> Need:
    """What a search needs beyond what is there, `ended` of its trials having ended in an earlier process."""
    audio = store_size(plan.manifest, sample_rate_hz=plan.base.front_end.sample_rate_hz, cache=cache)
    largest, scale = _largest(plan)
    last, best = _checkpoint_bytes(largest.experiment)
    model = round(scale * _model_bytes(plan, largest))
    trials = max(0, plan.settings.trials - ended)
    # A file is replaced by a second one beside it, so for a moment there are two of the last checkpoint.
    at_a_time = min(plan.settings.max_concurrent, trials) * (round(scale * (2 * last + best)) + model)
    kept = trials * (model + _trial_bytes(plan)) + 5 * model + _refused_bytes(plan, trials) + len(plan.space.text)
    return Need(
        audio_bytes=audio.size_bytes,
        audio_there=audio.there,
        running_bytes=at_a_time + trials * _TUNE_TRIAL,
        kept_bytes=kept + (_MLFLOW + _REGISTERED if _own_database(plan) else 0),
    )


def describe(found: Need, plan: Plan, *, cache: Path, storage: str) -> str:
    """One line for people."""
    audio, where = _size(found.audio_bytes), f"{cache}{'' if plan.settings.local else ' of each node'}"
    packed = f"; the {audio} of audio in {where} are packed already"
    return (
        f"disk: at most {_size(found.total_bytes)}: "
        f"{'' if found.audio_there else f'{audio} of packed audio in {where}, '}"
        f"{_size(found.running_bytes)} while it runs (checkpoints of {plan.settings.max_concurrent} trials at a time) "
        f"and {_size(found.kept_bytes)} kept in {storage} (a model of each trial, journal, tracking)"
        f"{packed if found.audio_there else ''}"
    )


def check_room(found: Need, *, cache: Path, storage: Path) -> None:
    """Check that there is room here.

    Raises:
        InputError: there is not.
    """
    wanted: dict[int, tuple[Path, int]] = {}
    audio = 0 if found.audio_there else found.audio_bytes
    for folder, size in ((storage, found.running_bytes + found.kept_bytes), (cache, audio)):
        place = next(place for place in (folder.resolve(), *folder.resolve().parents) if place.exists())
        before = wanted.get(place.stat().st_dev, (place, 0))
        wanted[place.stat().st_dev] = (before[0], before[1] + size)
    for place, size in wanted.values():
        free = shutil.disk_usage(place).free
        if size > free:
            raise InputError(
                f"the search needs up to {_size(size)}, but {place} has {_size(free)} free: make room there, or give "
                "fewer --trials, or another --storage or --cache"
            )


def as_json(found: Need) -> dict[str, int | bool]:
    """The figures as one object."""
    return {**dataclasses.asdict(found), "total_bytes": found.total_bytes}


def _largest(plan: Plan) -> tuple[Candidate, float]:
    """The largest network found with widths at their upper ends, and how much larger one that fits may be."""
    rng, budget, space = random.Random(1), plan.budget, plan.space
    widest = {
        key: parameter.high
        for key, parameter in space.sampled.items()
        if key.startswith(NARROWED) and isinstance(parameter, IntRange)
    }
    points = [{}, *({**space.sample(rng), **widest} for _ in range(_DRAWS))]
    found = [candidate for point in points if (candidate := repair(plan.base, space, point, budget)) is not None]
    # Where one point in a hundred fits, none of these may: the preview, which holds one at least, drew more.
    found = found or drawn(plan.base, space, budget)

    def larger(candidate: Candidate) -> float:
        # Other widths may use up what a step of these leaves of the budget.
        room = limit_bytes(budget.rule, budget.kilobytes) / counted_bytes(budget.rule, candidate.cost.stored)
        return min(_FILLED, max(1.0, room)) if candidate.narrowed else 1.0

    largest = max(found, key=lambda candidate: candidate.cost.stored.parameters * larger(candidate))
    return largest, larger(largest)


def _checkpoint_bytes(experiment: Experiment) -> tuple[int, int]:
    """The last checkpoint of a whole training (network, Adam, masks) and the best one (network)."""
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


def _model_bytes(plan: Plan, largest: Candidate) -> int:
    """A model file: stored tensors, zeros included, and what it says of itself."""
    header = LENGTH_BYTES + header_bytes(plan.base.architecture.classes)
    return header + largest.cost.stored.size_bytes + _BLOCK


def _trial_bytes(plan: Plan) -> int:
    """What is kept of a trial beside its model."""
    config = plan.base.flat()
    epochs = plan.base.schedule.epochs
    journal = _JOURNAL_TRIAL + 2 * len(json.dumps(config)) + _JOURNAL_EPOCH * epochs
    rows = _MLFLOW_TRIAL + _MLFLOW_KEY * len(config) + _MLFLOW_EPOCH * epochs if _own_database(plan) else 0
    return journal + rows + _LEADERBOARDS_TRIAL


def _refused_bytes(plan: Plan, trials: int) -> int:
    """Lines of points that became no trial: twice those expected, and those after which a finite space is given up."""
    share = plan.preview.repairable_share
    finite = not any(isinstance(parameter, FloatRange) for parameter in plan.space.sampled.values())
    return round(_REFUSAL * (2 * trials * (1 - share) / share + (MOST_REFUSALS if finite else 0)))


def _own_database(plan: Plan) -> bool:
    """Whether MLflow's database is a file here."""
    return (plan.settings.mlflow_uri or "sqlite:").startswith("sqlite:")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
