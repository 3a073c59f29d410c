"""The record beside each export: the gate's result, the size and its parts, the speed, and the versions used."""

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asc.console.sheet import Sheet
from asc.export.formats import Export, Format, Source
from asc.export.gate import Agreement, Latency
from asc.export.processor import kind, this_machine
from asc.export.saturating import Products
from asc.model_file.model_info import ModelInfo
from asc.models.stored import StoredNet

_PACKAGES = ("torch", "numpy", "onnx", "onnxruntime", "executorch", "litert-torch", "ai-edge-litert", "tflite-micro")
_RUNTIMES = {"onnx": "onnxruntime", "executorch": "executorch", "litert": "ai-edge-litert", "c-array": "ai-edge-litert"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """An export's figures with other kernels, on some of the clips; they may fail the gate."""

    name: str
    gate: Agreement
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An export's figures with the default kernels of its runtime, and with other kernels."""

    gate: Agreement
    latency: Latency
    kernels: tuple[Kernels, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One export of one model in one format.

    `sha256` is that of the bytes that the gate ran, `model_sha256` that of the network's stored numbers, and
    `fingerprint` identifies the experiment. `payload_bytes` is the size of the stored numbers, pruned zeros included;
    `around` gives the sizes of the file's other parts, where known (ONNX only).
    The gate ran on this kind of `processor`, with default session options except for the number of threads; `products`
    says whether 8-bit products can overflow on other processors. The file takes clips of `shortest_samples` to
    `longest_samples` (None: no limit).
    `gate` and `latency` are for the runtime's default kernels, or for `gate_kernels` where the format is normally run
    with those. `kernels` has the figures of all kernels other than the runtime's default, including `gate_kernels`.
    """

    file: str
    format: Format
    source: Source
    size_bytes: int
    payload_bytes: int
    gate: Agreement
    gate_kernels: str | None
    processor: str
    products: Products | None
    latency: Latency
    data: str
    labels: tuple[str, ...]
    shortest_samples: int
    longest_samples: int | None
    sample_rate_hz: int
    sha256: str
    fingerprint: str
    model_sha256: str
    versions: dict[str, str]
    around: dict[str, int]
    kernels: tuple[Kernels, ...]

    @property
    def over_payload_bytes(self) -> int:
        """The file's size minus that of the network's stored numbers; negative if the file stores fewer."""
        return self.size_bytes - self.payload_bytes


def records(
    export: Export, network: StoredNet, info: ModelInfo, *, measured: Measured, data: str
) -> tuple[Record, ...]:
    """Return a record for each format that the export is written in; `data` names the data set of the gate's clips."""
    state = network.state_dict()
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].contiguous().numpy().tobytes())
    return tuple(
        Record(
            file=next(iter(files)),
            format=name,
            source=export.source,
            size_bytes=len(export.data),
            payload_bytes=sum(tensor.numel() * tensor.element_size() for tensor in state.values()),
            gate=_of(export, measured, name).gate,
            gate_kernels=_gate_kernels(export, measured, name),
            processor=kind(*this_machine()),
            products=export.products,
            latency=_of(export, measured, name).latency,
            data=data,
            labels=info.labels,
            shortest_samples=export.shortest_samples,
            longest_samples=export.longest_samples,
            sample_rate_hz=network.front_end.sample_rate_hz,
            sha256=hashlib.sha256(export.data).hexdigest(),
            fingerprint=info.experiment.fingerprint,
            model_sha256=digest.hexdigest(),
            versions=_versions(),
            around=_around(name, export.data),
            kernels=measured.kernels,
        )
        for name, files in export.files.items()
    )


def tree(record: Record) -> dict[str, Any]:
    """Return a record as a JSON object, derived figures included."""
    found = dataclasses.asdict(record)
    found["over_payload_bytes"] = record.over_payload_bytes
    parts: list[tuple[Record | Kernels, dict[str, Any]]] = [(record, found)]
    for figures, at in [*parts, *zip(record.kernels, found["kernels"], strict=True)]:
        at["gate"] |= {"largest_steps": figures.gate.largest_steps, "passed": figures.gate.passed}
        at["latency"]["ratio_to_torch_float"] = figures.latency.ratio
    return found


def sheet(found: Sequence[Record]) -> Sheet:
    """Return the records as a printable table."""
    return Sheet(
        title=f"Exports of a network of {found[0].payload_bytes:,} bytes",
        columns=("file", "bytes", "overhead", "ms", "ratio", "off by", "labels"),
        rows=tuple(row for record in found for row in _rows(record, among=found)),
    )


def legend(found: Sequence[Record]) -> str:
    """Explain the columns of `sheet`, and say what input each file takes and where it was checked."""
    first = found[0]
    takes = "".join(f"\n{record.file} takes {_takes(record)}{_spent(record)}{_holds(record)}" for record in found)
    checked = f"\nchecked with default session options on {first.processor}" + "".join(map(_products, found))
    return (
        f"overhead: bytes beyond the network's own; ms: processor time for {first.latency.seconds_of_audio:g} s of "
        "audio on one thread; ratio: to the float network in torch; off by: largest difference of a logit (one step is "
        f"{first.gate.step:.2g}); labels: clips that get another label, of {first.gate.clips} clips of "
        f"{first.data}{takes}{checked}"
    )


def next_step(found: Sequence[Record], folder: Path) -> str:
    """Say how to use the file that was written last."""
    file, source = folder / found[-1].file, found[-1].source
    match found[-1].format:
        case "onnx":
            return f'onnxruntime.InferenceSession("{file}").run(None, {{"{source}": ...}}) gives logits: docs/deploy.md'
        case "executorch":
            return f'executorch.runtime.Runtime.get().load_program("{file}").load_method("forward").execute([log_mel])'
        case "litert":
            return f'ai_edge_litert.interpreter.Interpreter("{file}"): get_input_details() gives type and shape'
        case "c-array":
            return f"compile {file} into a TFLite Micro program; its header describes input, output and requirements"


def said(record: Record) -> str:
    """Return what a model card says of an export: its size, and how and on what it was checked."""
    gate, products = record.gate, record.products
    text = (
        f"{record.size_bytes:,} bytes. On {gate.clips} clips, {_run_by(record)} on {record.processor}, no logit is "
        f"more than {gate.largest_steps:.1f} of {gate.limit_steps} allowed steps off; {gate.argmax_differs} clips get "
        "another label"
    )
    text += " (their top two lie within a step)." if gate.argmax_differs else "."
    if products is None:
        return text
    return text + (
        f" Saturating products of processors without VNNI, emulated: {products.overflowing or 'none'} of its "
        f"{products.pairs:,} pairs can overflow."
    )


def _run_by(record: Record) -> str:
    """Say which runtime or kernels the gate used, with the version if known."""
    match record.gate_kernels:
        case None:
            runtime = _RUNTIMES[record.format]
            return f"in a plain session of {runtime} {record.versions.get(runtime, '')}".rstrip()
        case "TFLite Micro":
            return f"by TensorFlow Lite Micro {record.versions.get('tflite-micro', '')}".rstrip()
        case name:
            return f"by LiteRT's {name} kernels (ai-edge-litert {record.versions.get('ai-edge-litert', 'not known')})"


def contents(export: Export, found: Sequence[Record]) -> dict[str, bytes]:
    """Return the files of an export by name; each format's files are followed by its record, NAME.json."""
    files: dict[str, bytes] = {}
    for record in found:
        files |= export.files[record.format]
        files[beside(record)] = (json.dumps(tree(record), indent=2, allow_nan=False) + "\n").encode()
    return files


def beside(record: Record) -> str:
    """Return the name of the file that holds a record."""
    return f"{record.file}.json"


def _rows(record: Record, *, among: Sequence[Record]) -> Iterator[tuple[str, ...]]:
    """Yield a row for a record, then one per other set of kernels, only once for formats with the same bytes."""
    sizes = (f"{record.size_bytes:,}", f"{record.over_payload_bytes:+,}")
    yield (record.file, *sizes, *_figures(record.gate, record.latency))
    first = next(other for other in among if other.sha256 == record.sha256)
    for kernels in record.kernels if first is record else ():
        yield (f"  {kernels.name} kernels", "", "", *_figures(kernels.gate, kernels.latency))


def _figures(gate: Agreement, latency: Latency) -> tuple[str, ...]:
    speed = (f"{latency.milliseconds:.1f}", f"{latency.ratio:.2f}")
    return (*speed, f"{gate.largest_difference:.2g}", str(gate.argmax_differs))


def _of(export: Export, measured: Measured, name: Format) -> Measured | Kernels:
    """Return the figures of the kernels that a format is normally run with."""
    return next((kernels for kernels in measured.kernels if kernels.name == export.decisive.get(name)), measured)


def _gate_kernels(export: Export, measured: Measured, name: Format) -> str | None:
    """Return the name of the kernels that a format is normally run with; None for the runtime's default."""
    found = _of(export, measured, name)
    return found.name if isinstance(found, Kernels) else None


def _takes(record: Record) -> str:
    longest = record.longest_samples
    what = "waveform" if record.source == "waveform" else "log-mel"
    if longest is None:
        return f"{what}, any length"
    seconds = longest / record.sample_rate_hz
    return f"{what}, {'exactly' if longest == record.shortest_samples else 'up to'} {seconds:g} s"


def _products(record: Record) -> str:
    products = record.products
    if products is None:
        return ""
    overflowing = products.overflowing or "none"
    return f"; on others, {overflowing} of the {products.pairs:,} pairs of products in {record.file} can overflow"


def _spent(record: Record) -> str:
    """Say where the bytes that are not the network's numbers go, largest parts first."""
    parts = sorted(record.around.items(), key=lambda part: -part[1])
    return ("; its other bytes: " if parts else "") + ", ".join(f"{name} {size:,}" for name, size in parts if size)


def _holds(record: Record) -> str:
    """Say which kernels the gate holds for, if there are several."""
    if not record.kernels:
        return ""
    passed = [kernels.name for kernels in record.kernels if kernels.gate.passed]
    failed = [f"{kernels.name} kernels ({kernels.gate.why_not})" for kernels in record.kernels if kernels.gate.why_not]
    names = ["XNNPACK", *passed]
    holds = f"{', '.join(names[:-1])} and {names[-1]}" if passed else names[0]
    clips = record.kernels[0].gate.clips
    not_for = "".join(f", not for {each}" for each in failed)
    return f"\n{record.file}: the gate holds for {holds} kernels{not_for}; those other than XNNPACK ran {clips} clips"


def _around(name: Format, data: bytes) -> dict[str, int]:
    if name != "onnx":
        return {}
    from asc.export.onnx import byte_account

    return {row.name: row.size_bytes for row in byte_account(data).rows if not row.stored}


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
