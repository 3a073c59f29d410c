"""Print what a redesign must not change, as JSON: exact sizes, losses, files, logits and a small search.

    python tests/benchmarks/goldens.py > before.json      # before the change, on the same machine
    python tests/benchmarks/goldens.py > after.json       # after each step
    cmp before.json after.json

Parts can be named (`sizes`, `losses`, `forms`, `search`); the default is all, which takes two minutes on two cores.
Float sums depend on the processor and on the versions of torch and onnxruntime, so only compare files from the same
machine and environment. Long values are given as SHA-256.
"""

import argparse
import dataclasses
import hashlib
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from asc.audio.frontend import LogMel
from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.config.space_file import load_space
from asc.export.decomposed import DecomposedNet
from asc.export.float_parts import CONVERTERS
from asc.export.onnx import OnnxSession, Source, build_onnx
from asc.model_file.artefact import save_model
from asc.model_file.model_info import DataIdentity, ModelInfo, longest
from asc.models.build import build_network
from asc.models.conversion import to_stored
from asc.models.integer import IntegerNet
from asc.models.stored import StoredNet
from asc.search.repair import Budget, repair
from asc.size.law import cost
from asc.size.memory_plan import memory_plan, plan_json
from asc.size.rules import rule
from asc.size.stored_items import StoredAs
from asc.training import prune

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ("qat_8b", "16b_prune")
POINTS, STEPS, FROZEN_AFTER, CLIPS, SECONDS = 40, 20, 14, 6, 1.5
STORED_AS: tuple[StoredAs, ...] = ("asc", "report")
SOURCES: tuple[Source, ...] = ("log_mel", "waveform")


def sizes() -> dict[str, Any]:
    """Items, sums, MACs, memory plan and stream memory of two recipes and of random points after repair."""
    return {name: _size(experiment) for name, experiment in _experiments()}


def _experiments() -> Iterator[tuple[str, Experiment]]:
    for name in RECIPES:
        yield name, load_experiment(name)
    space, base, rng = load_space("idlab128"), load_experiment("qat_8b"), random.Random(11)
    for number in range(POINTS):
        candidate = repair(base, space, space.sample(rng), Budget(rule=rule("dcase2021"), kilobytes=128))
        yield f"point {number}", base if candidate is None else candidate.experiment


def _size(experiment: Experiment) -> dict[str, Any]:
    costs = {stored_as: _cost(experiment, stored_as) for stored_as in STORED_AS}
    plan = plan_json(memory_plan(experiment, seconds=2.0))
    return {
        "fingerprint": experiment.fingerprint,
        "widths": experiment.architecture.widths,
        "stored": {name: found["stored"] for name, found in costs.items()},
        "items": {name: _digest(found["items"]) for name, found in costs.items()},
        "macs_per_second": costs["asc"]["macs_per_second"],
        "peak_activation_bytes": costs["asc"]["peak_activation_bytes"],
        "arena_bytes": plan["arena_bytes"],
        "needs": plan["needs"],
        "memory_plan": _digest(plan),
    }


def _cost(experiment: Experiment, stored_as: StoredAs) -> dict[str, Any]:
    return dataclasses.asdict(cost(experiment, stored_as=stored_as))


def losses() -> dict[str, list[str]]:
    """Losses of the training steps as hexadecimal floats; the last steps have frozen batch norms and ranges."""
    return {name: [loss.hex() for loss in _trained(load_experiment(name))[1]] for name in RECIPES}


def _trained(experiment: Experiment) -> tuple[Any, list[float], prune.Masks]:
    network = build_network(
        experiment.architecture, experiment.front_end, seed=3, storage=experiment.compression.storage
    ).train()
    generator = torch.Generator().manual_seed(5)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    masks: prune.Masks = {}
    found = []
    for step in range(STEPS):
        if step == STEPS // 4 and experiment.compression.prune_ratio:
            masks = prune.smallest(network, cost(experiment).items, experiment.compression.prune_ratio)
            prune.hold(network, masks)
        if step == FROZEN_AFTER:
            network.freeze_batch_norm()
            network.freeze_observers()
        x, targets = _batch(experiment, generator)
        loss = functional.cross_entropy(network(x), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        prune.hold(network, masks)
        found.append(float(loss.detach()))
    return network.eval(), found, masks


def _batch(experiment: Experiment, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random log-mels (4, 1, bands, 100) whose slope over frequency depends on the class, and the classes (4,)."""
    classes, bands = experiment.architecture.classes, experiment.front_end.mel_bands
    targets = torch.randint(classes, (4,), generator=generator)
    slope = torch.linspace(-1, 1, bands) * (targets - classes / 2)[:, None]
    return torch.randn((4, 1, bands, 100), generator=generator) + slope[:, None, :, None], targets


def forms() -> dict[str, Any]:
    """SHA-256 of the model file, the ONNX files, and the logits of all forms on generated clips."""
    return {name: _forms(load_experiment(name)) for name in RECIPES}


def _forms(experiment: Experiment) -> dict[str, Any]:
    network = _trained(experiment)[0]
    stored, info = to_stored(network), _info(experiment)
    rng = np.random.default_rng(2)
    waveforms = (0.1 * rng.standard_normal((CLIPS, round(SECONDS * experiment.front_end.sample_rate_hz)))).astype("f4")
    with torch.no_grad():
        log_mel = LogMel(experiment.front_end)(torch.from_numpy(waveforms))
        found = {
            "log-mel": _sha256(log_mel.numpy().tobytes()),
            "trained": _values(network(log_mel)),
            "stored": _values(stored(log_mel)),
            "raw": _values(stored.raw_logits(log_mel)),
            "last map": _values(stored.last_map(log_mel)),
        }
        if isinstance(stored, IntegerNet):
            for converter in CONVERTERS:
                found[f"for {converter}"] = _values(DecomposedNet(stored, converter=converter)(log_mel))
    found["model file"] = _model_file(stored, info)
    for source in SOURCES:
        x = waveforms if source == "waveform" else log_mel.numpy()
        for compact in (False, True):
            name = f"ONNX from {source}{', compact' if compact else ''}"
            data = build_onnx(stored, info, source=source, compact=compact)
            found[name] = [len(data), _sha256(data)]
            found[f"{name}: logits"] = _values(OnnxSession(data).logits(x))
    return found


def _info(experiment: Experiment) -> ModelInfo:
    labels = tuple(f"scene {number}" for number in range(experiment.architecture.classes))
    return longest(experiment, labels, DataIdentity(choice=DataChoice("csv:meta.csv"), digest="0" * 12))


def _model_file(stored: StoredNet, info: ModelInfo) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(path, stored, info)
        data = path.read_bytes()
    return [len(data), _sha256(data)]


def search() -> dict[str, Any]:
    """The leaderboard of a search of the default space on built-in data, and its journal's events in order."""
    with tempfile.TemporaryDirectory() as folder:
        options = "--trials 4 --epochs-per-cycle 1 --max-concurrent 1 --seed 3 --name golden --mlflow-uri none"
        command = [sys.executable, str(ROOT / "launch" / "search.py"), *options.split(), "--storage", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        run = Path(folder) / "golden"
        rows = json.loads((run / "leaderboard.json").read_text())
        events = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return {"leaderboard": _timeless(rows), "events": [event["event"] for event in events]}


def _timeless(value: Any) -> Any:
    """The value without keys that depend on the clock."""
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if "seconds" not in key and "time" not in key}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def _values(values: Tensor | NDArray[Any]) -> list[str]:
    """The first number, for human readers, and the digest of all."""
    array = np.asarray(values)
    return [float(array.flat[0]).hex(), _sha256(np.ascontiguousarray(array).tobytes())]


def _digest(value: Any) -> str:
    return _sha256(json.dumps(value, sort_keys=True).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


PARTS: dict[str, Callable[[], Any]] = {"sizes": sizes, "losses": losses, "forms": forms, "search": search}


def main() -> None:
    """Print the named parts, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    names = parser.parse_args().parts or list(PARTS)
    torch.set_num_threads(1)
    print(json.dumps({name: PARTS[name]() for name in names}, indent=1))


if __name__ == "__main__":
    main()
