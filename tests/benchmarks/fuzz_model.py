"""Damage a model file in thousands of ways, with and without a renewed checksum, and count the outcomes.

    python tests/benchmarks/fuzz_model.py [MODEL] [--mutations 20000]

Without MODEL it takes an untrained, narrowed network of the recipe 16b_prune, which has tensors of every kind.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from forged import fuzz

from asc.config.data_choice import DataChoice
from asc.config.recipes.loading import load_experiment
from asc.model_file.artefact import save_model
from asc.model_file.model_info import DataIdentity, longest
from asc.models.build import build_network
from asc.models.conversion import to_stored
from asc.size.law import cost
from asc.training.prune import hold, smallest


def narrow(folder: Path) -> Path:
    """Save the model file of a narrow, pruned, untrained network and return its path."""
    experiment = load_experiment("16b_prune").updated({"architecture.widths": [4, 8]})
    compression = experiment.compression
    network = build_network(experiment.architecture, experiment.front_end, seed=0, storage=compression.storage).eval()
    items = cost(experiment).items
    hold(network, smallest(network, items, compression.prune_ratio))
    data = DataIdentity(choice=DataChoice("synthetic"), digest="0" * 64)
    path = folder / "model.safetensors"
    save_model(path, to_stored(network), longest(experiment, tuple("abcdefghij"), data))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--mutations", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = narrow(Path(folder)) if options.model is None else Path(folder) / "model.safetensors"
        if options.model is not None:
            path.write_bytes(options.model.read_bytes())
        for sealed in (False, True):
            began = time.monotonic()
            counts = fuzz(path, seed=int(sealed), mutations=options.mutations, sealed=sealed)
            print(
                f"{options.mutations:,} mutations of {path.stat().st_size:,} bytes, "
                f"{'checksum renewed' if sealed else 'checksum kept'}: {counts.refused:,} refused, "
                f"{counts.unchanged:,} unchanged, {counts.ran:,} ran as another network "
                f"({time.monotonic() - began:.0f} s)"
            )
        path.with_name("forged.safetensors").unlink()


if __name__ == "__main__":
    main()
