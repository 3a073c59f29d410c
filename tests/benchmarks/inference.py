"""A clip from waveform to logits on one thread: every form and every export that is installed, over plain torch.

    python tests/benchmarks/inference.py [--recipe NAME] [--seconds S] [--repeats N] [--json]

`plain` is what a torch user has: torchaudio's MelSpectrogram and logarithm, then the float32 network in eager torch.
Rows from the waveform include the front end; the others begin at log-mel. The network has random weights; a few batches
of noise set its ranges. Rows take turns, and the fastest CPU time of each counts. `peak` is how much memory a row takes
above what the process held before it (Linux; else 0). What the sizes of ONNX files are made of: `onnx_latency.py`.
"""

import argparse
import ctypes
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import torch
from onnx_latency import fastest, info, trained
from torch import Tensor

from asc.audio.frontend import LogMel
from asc.audio.torchaudio_compat import torchaudio
from asc.config.experiment import Experiment
from asc.config.front_end import FrontEnd
from asc.config.recipes.loading import load_experiment
from asc.export.formats import Format, makers
from asc.export.processor import kind, this_machine
from asc.models.conversion import to_stored

Rows = dict[str, Callable[[], object]]
PACKAGES: dict[Format, str] = {"onnx": "onnxruntime", "executorch": "executorch", "litert": "litert_torch"}


def torchaudios(front_end: FrontEnd) -> Callable[[Tensor], Tensor]:
    """torchaudio's own log-mel with the same sizes: (batch, samples) to (batch, 1, bands, frames)."""
    spectrogram = torchaudio().transforms.MelSpectrogram(
        sample_rate=front_end.sample_rate_hz,
        n_fft=front_end.dft_points,
        win_length=front_end.window_samples,
        hop_length=front_end.hop_samples,
        n_mels=front_end.mel_bands,
        power=1.0,
        norm=None,
        mel_scale=front_end.mel_scale,
        pad_mode="constant",
    )
    return lambda waveform: (spectrogram(waveform)[:, None, :, :-1] + front_end.log_offset).log()


def in_storage(experiment: Experiment, storage: str) -> Experiment:
    """The experiment with this storage, without pruning."""
    return experiment.updated({"compression.storage": storage, "compression.prune_ratio": 0.0})


def rows_of(experiment: Experiment, seconds: float) -> Rows:
    """All rows, the reference first."""
    eight, half = (in_storage(experiment, storage) for storage in ("int8", "float16"))
    quantised, floating = trained(eight), trained(half)
    ours, theirs = LogMel(experiment.front_end), torchaudios(experiment.front_end)
    samples = round(seconds * experiment.front_end.sample_rate_hz)
    wave = 0.05 * torch.randn(1, samples, generator=torch.Generator().manual_seed(1))
    log_mel = ours(wave)
    stored = {"integer": to_stored(quantised), "16 bit": to_stored(floating)}
    rows: Rows = {
        "plain": lambda: floating(theirs(wave)),
        "log-mel, torchaudio": lambda: theirs(wave),
        "log-mel": lambda: ours(wave),
        "float network": lambda: floating(log_mel),
        "fake-quantised network": lambda: quantised(log_mel),
        "integer network": lambda: stored["integer"](log_mel),
        "16-bit network": lambda: stored["16 bit"](log_mel),
        "integer, from the waveform": lambda: stored["integer"](ours(wave)),
        "16 bit, from the waveform": lambda: stored["16 bit"](ours(wave)),
    }
    formats = [name for name, package in PACKAGES.items() if importlib.util.find_spec(package)]
    for form, of in (("integer", eight), ("16 bit", half)):
        for file, make in makers(stored[form], info(of), formats, seconds=seconds).items():
            export = make()
            given = (wave if export.source == "waveform" else log_mel).numpy()
            rows[f"{form}, {file}"] = lambda export=export, given=given: export.session.logits(given)
    return rows


def peak_mb(run: Callable[[], object]) -> float:
    """The memory in MB that a run takes at most, above what the process holds."""
    clear, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not clear.exists():
        return 0.0
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)  # otherwise a row would use what the rows before it left
    clear.write_text("5")
    before = _status_kb(status, "VmRSS")
    run()
    return max(0.0, (_status_kb(status, "VmHWM") - before) / 1024)


def _status_kb(status: Path, name: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


@torch.no_grad()
def main() -> None:
    """Measure and print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="qat_8b")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = rows_of(load_experiment(options.recipe), options.seconds)
    peaks = {name: peak_mb(run) for name, run in rows.items()}
    found = fastest(rows, options.repeats)
    ratios = {
        "log_mel_over_torchaudio": found["log-mel"] / found["log-mel, torchaudio"],
        "fake_quantised_over_float": found["fake-quantised network"] / found["float network"],
        "integer_over_float": found["integer network"] / found["float network"],
    }
    if options.json:
        print(json.dumps({"ms": found, "peak_mb": peaks, "ratios": ratios}))
        return
    machine = kind(*this_machine())
    print(f"{options.recipe}, {options.seconds:g} s of audio, one thread, {machine}, torch {torch.__version__}")
    for name, ms in found.items():
        print(f"{name:34s} {ms:8.1f} ms  {ms / found['plain']:6.2f} of plain  peak {peaks[name]:6.1f} MB")
    print(", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))


if __name__ == "__main__":
    main()
