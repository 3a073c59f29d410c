"""The export formats: which package each needs, how it is built, and what input it takes."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from asc.errors import InputError
from asc.export.graph import shortest_frames
from asc.model_file.model_info import ModelInfo
from asc.models.integer import IntegerNet
from asc.models.stored import StoredNet
from asc.size.memory_plan import memory_plan

if TYPE_CHECKING:
    from asc.export.litert import LitertSession
    from asc.export.saturating import Products

Format = Literal["onnx", "executorch", "litert", "c-array"]
Source = Literal["log_mel", "waveform"]

SHORTEST_S, LONGEST_S = 0.2, 600.0
# For each format that needs more than asc's own dependencies: the package, and the extra of asc that installs it.
_NEEDS = {"executorch": ("executorch", "executorch"), "litert": ("litert_torch", "litert")}
_NEEDS["c-array"] = _NEEDS["litert"]


class Session(Protocol):
    """Runs an export."""

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map log-mel (1, 1, mel_bands, frames), or a waveform (1, samples), to logits (1, classes), all float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One export in memory: the bytes that were built, the files that hold them, and a session that runs them.

    It takes clips of `shortest_samples` to `longest_samples` samples (None: no limit) at the network's sample rate.
    `products` counts the products of its 8-bit layers that can overflow; None if the runtime cannot choose how to add
    them. `kernels` are sessions that run the same bytes with other kernels; `decisive` names, by format, the kernels
    whose gate must pass too.
    """

    source: Source
    data: bytes
    files: Mapping[Format, Mapping[str, bytes]]
    session: Session
    shortest_samples: int
    longest_samples: int | None
    products: "Products | None" = None
    kernels: Mapping[str, Session] = field(default_factory=dict)
    decisive: Mapping[Format, str] = field(default_factory=dict)


def check(formats: Sequence[Format], network: StoredNet, *, clips: int, seconds: float) -> None:
    """Check, before any work, that a network can be exported to these formats with these options.

    Raises:
        InputError: no format is given, an extra is missing, the format cannot hold the network, or a number is out of
            range.
    """
    if clips < 1:
        raise InputError(f"--clips {clips}: an export is checked on at least 1 clip")
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise InputError(f"--seconds {seconds:g}: give {SHORTEST_S:g} to {LONGEST_S:g}")
    if not formats:
        raise InputError("--to names no format: give onnx, executorch, litert or c-array")
    frames = network.front_end.frames(seconds)
    for name in formats:
        if name == "onnx":
            continue
        if name == "c-array" and not isinstance(network, IntegerNet):
            raise InputError(
                "--to c-array takes 8-bit networks only: TensorFlow Lite Micro cannot read the float16 weights of this "
                "one; export it --to litert, executorch or onnx"
            )
        package, extra = _NEEDS[name]
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f'--to {name} needs the extra {extra}: pip install -e ".[{extra}]", in an environment of its own'
            )
        if frames <= shortest_frames(network):
            raise InputError(
                f"--seconds {seconds:g} is {frames} frames, which is too short for this network's strides: "
                f"--to {name} needs more than {shortest_frames(network)} frames"
            )


def makers(
    network: StoredNet, info: ModelInfo, formats: Sequence[Format], *, seconds: float, compact: bool = False
) -> Mapping[str, Callable[[], Export]]:
    """Return a function that builds each export, by the name of its first file.

    A LiteRT file takes clips of exactly `seconds`, an ExecuTorch program clips of at most `seconds`, an ONNX file clips
    of any length. Only onnxruntime runs compact ONNX.
    """
    found: dict[str, Callable[[], Export]] = {}
    if "onnx" in formats:
        found["model.onnx"] = lambda: _onnx(network, info, "log_mel", compact=compact)
        found["model-waveform.onnx"] = lambda: _onnx(network, info, "waveform", compact=compact)
    frames = network.front_end.frames(seconds)
    if "executorch" in formats:
        found["model.pte"] = lambda: _executorch(network, frames)
    if "litert" in formats or "c-array" in formats:
        found["model.tflite"] = lambda: _litert(network, info, frames, formats)
    return found


def _onnx(network: StoredNet, info: ModelInfo, source: Source, *, compact: bool) -> Export:
    from asc.export.onnx import OnnxSession, build_onnx
    from asc.export.saturating import products_of

    data = build_onnx(network, info, source=source, compact=compact)
    return Export(
        source=source,
        data=data,
        files={"onnx": {"model.onnx" if source == "log_mel" else "model-waveform.onnx": data}},
        session=OnnxSession(data),
        shortest_samples=network.front_end.hop_samples,
        longest_samples=None,
        products=products_of(data) if isinstance(network, IntegerNet) else None,
    )


def _executorch(network: StoredNet, frames: int) -> Export:
    from asc.export.executorch import ExecutorchSession, build_executorch

    data, hop = build_executorch(network, longest_frames=frames), network.front_end.hop_samples
    return Export(
        source="log_mel",
        data=data,
        files={"executorch": {"model.pte": data}},
        session=ExecutorchSession(data),
        shortest_samples=shortest_frames(network) * hop,
        longest_samples=frames * hop,
    )


def _litert(network: StoredNet, info: ModelInfo, frames: int, formats: Sequence[Format]) -> Export:
    from asc.export.c_array import c_array
    from asc.export.litert import LitertSession, build_litert
    from asc.export.micro import MicroSession, micro_is_installed

    data, samples = build_litert(network, frames=frames), frames * network.front_end.hop_samples
    arena_bytes = memory_plan(info.experiment, seconds=samples / network.front_end.sample_rate_hz).arena.size_bytes
    session = LitertSession(data)
    files: dict[Format, Mapping[str, bytes]] = {}
    if "litert" in formats:
        files["litert"] = {"model.tflite": data}
    kernels: dict[str, Session] = {
        "optimised": LitertSession(data, "optimised"),
        "reference": LitertSession(data, "reference"),
    }
    if micro_is_installed() and isinstance(network, IntegerNet):
        kernels["TFLite Micro"] = MicroSession(data, arena_bytes=2 * arena_bytes + 2**20)
    decisive = list(kernels)[-1]
    if "c-array" in formats:
        files["c-array"] = c_array(data, _notes(session, info, arena_bytes, decisive))
    return Export(
        source="log_mel",
        data=data,
        files=files,
        session=session,
        shortest_samples=samples,
        longest_samples=samples,
        kernels=kernels,
        decisive={"c-array": decisive} if "c-array" in formats else {},
    )


def _notes(session: "LitertSession", info: ModelInfo, arena_bytes: int, kernels: str) -> dict[str, str]:
    """Return what one must know to use the array, for the comment at the top of its header."""
    features = info.experiment.tree()["front_end"]
    return {
        "A TFLite model, experiment": info.experiment.fingerprint,
        "input, log-mel": session.input.text,
        "front end": ", ".join(f"{name} = {value}" for name, value in features.items()),
        "output, logits": session.output.text,
        "labels": ", ".join(info.labels),
        "operators": ", ".join(session.operators),
        "checked with": f"XNNPACK and {kernels} kernels; with others the logits may be further off",
        "tensor arena": f"over {arena_bytes} bytes: scratch of operators and the interpreter's own come on top",
    }
