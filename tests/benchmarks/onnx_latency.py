"""Latency of the ONNX files relative to the float network in torch, in one run on one thread.

    python tests/benchmarks/onnx_latency.py [--recipe NAME] [--seconds S] [--repeats N]

The network has random weights; a few batches of noise set its activation ranges. Rows take turns, and the fastest CPU
time of each counts, so that other work on the machine does not. "float network" is the recipe's network in float32 as
torch evaluates it, from log-mel. Rows from the waveform include the front end. "int8 weights" is the 8-bit file with
int8 weights: the ratio of the two rows is the cost of uint8 weights. On a processor without VNNI its logits are wrong;
the error is printed.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from onnx_networks import with_int8_weights

from asc.audio.frontend import LogMel
from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.export.onnx import OnnxSession, build_onnx, byte_account
from asc.export.processor import kind, this_machine
from asc.model_file.model_info import DataIdentity, ModelInfo, longest
from asc.models.build import build_network
from asc.models.conversion import to_stored
from asc.models.network import Network
from asc.size.law import cost


def trained(experiment: Experiment) -> Network:
    """A network with random weights, its batch norms and ranges set by 3 batches of noise."""
    network = build_network(
        experiment.architecture, experiment.front_end, seed=0, storage=experiment.compression.storage
    ).train()
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        network(2 * torch.randn(4, 1, experiment.front_end.mel_bands, 100, generator=generator))
    return network.eval()


def info(experiment: Experiment) -> ModelInfo:
    """Metadata for a file: numbers as labels, and placeholders."""
    labels = tuple(map(str, range(experiment.architecture.classes)))
    return longest(experiment, labels, DataIdentity(choice=DataChoice("none"), digest=""))


def fastest(rows: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return each row's fastest CPU time in ms over `repeats` turns, after an uncounted warm-up turn."""
    found = dict.fromkeys(rows, float("inf"))
    for turn in range(repeats + 1):
        for name, run in rows.items():
            start = time.process_time()
            run()
            spent = 1000 * (time.process_time() - start)
            found[name] = min(found[name], spent) if turn else found[name]
    return found


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="qat_8b")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    experiment = load_experiment(options.recipe)
    half = dataclasses.replace(
        experiment, compression=dataclasses.replace(experiment.compression, storage="float16", prune_ratio=0.0)
    )
    stored, floating = to_stored(trained(experiment)), trained(half)
    files = {
        f"ONNX, {storage}, from {source}": build_onnx(network, info(said), source=source)
        for storage, network, said in (
            (experiment.compression.storage, stored, experiment),
            ("float16", to_stored(floating), half),
        )
        for source in ("log_mel", "waveform")
    }
    compact = build_onnx(stored, info(experiment), source="log_mel", compact=True)
    if experiment.compression.storage == "int8":
        files |= {"ONNX, int8 weights, from log_mel": with_int8_weights(compact)}
    front_end = LogMel(experiment.front_end)
    samples = round(options.seconds * experiment.front_end.sample_rate_hz)
    wave = 0.05 * torch.randn(1, samples, generator=torch.Generator().manual_seed(1))
    log_mel = front_end(wave)
    given = {"log_mel": log_mel.numpy(), "waveform": wave.numpy()}
    sessions = {name: OnnxSession(data) for name, data in files.items()}

    def session(name: str) -> Callable[[], object]:
        x: np.ndarray = given[name.rpartition(" ")[2]]
        return lambda: sessions[name].logits(x)

    rows: dict[str, Callable[[], object]] = {
        "float network in torch, from log_mel": lambda: floating(log_mel),
        "stored form in torch, from log_mel": lambda: stored(log_mel),
        "front end in torch alone": lambda: front_end(wave),
        **{name: session(name) for name in files},
    }
    found = fastest(rows, options.repeats)
    reference = next(iter(found.values()))
    print(
        f"{options.recipe}, {options.seconds:g} s of audio, one thread, {kind(*this_machine())}, "
        f"torch {torch.__version__}"
    )
    for name, spent in found.items():
        print(f"{name:40s} {spent:8.1f} ms  {spent / reference:6.2f} of the float network")
    step, expected = float(stored.dense.output.scale), stored(log_mel).numpy()
    for name in files:
        if name.startswith("ONNX, int8") and name.endswith("log_mel"):
            off = np.abs(sessions[name].logits(given["log_mel"]) - expected).max() / step
            print(f"{name:40s} {off:8.1f} steps off")
    print(f"{'compact ONNX, from log_mel':40s} {len(compact):9,} bytes")
    for (name, data), said in zip(files.items(), (experiment, experiment, half, half), strict=False):
        payload = cost(said).stored.size_bytes
        print(f"{name:40s} {len(data):9,} bytes, {len(data) - payload:,} over the payload of {payload:,}")
    for row in byte_account(next(iter(files.values()))).rows:
        print(f"    {row.name:40s} {row.size_bytes:9,}  {'stored' if row.stored else 'around'}")


if __name__ == "__main__":
    main()
