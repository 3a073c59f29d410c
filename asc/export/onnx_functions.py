"""Finds repeated sequences of layers, which an ONNX file then holds once, as functions.

Two kinds of sequences become functions. A *segment* lies between two places where only one tensor is alive, such as a
block with its skip; its numbers are passed in few tensors. A *chain* is a run of layers that each read the one before,
inside or outside segments. Two sequences are equal if the kinds, connections and fixed attributes of their layers are.
Sizes may differ, and so may the stride of the layers that read the sequence's input: it is the function's attribute.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from asc.topology.layers import (
    AveragePool,
    ConvNorm,
    Dense,
    FrequencyMean,
    Layer,
    MaxPool,
    Projection,
    ResidualNorm,
    ResponseNorm,
    SqueezeExcite,
    SubSpectralConv,
    Swish,
)
from asc.topology.topology import Topology

_CHAINS, _SEGMENTS = "BCDEFGH", "STUVWXYZ"
_INNER = ConvNorm | SubSpectralConv | Projection | SqueezeExcite | ResponseNorm | ResidualNorm | Swish | FrequencyMean


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Consecutive layers that are written as one node, which calls the function of this name.

    A `packed` function takes all vectors of the same length and type as one tensor and splits it.
    """

    function: str
    parts: tuple["Part", ...]
    packed: bool

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers inside, in order."""
        return tuple(flat(self.parts))

    @property
    def reads(self) -> str:
        """The name of the outside layer whose output these layers read."""
        return self.layers[0].reads[0]

    @property
    def stride(self) -> tuple[int, int]:
        """The stride (bins, frames) of the layers that read the sequence's input; (1, 1) if they do not share one."""
        found = self._strides
        return found[0] if len(set(found)) == 1 else (1, 1)

    def strides_by_attribute(self, part: "Part") -> bool:
        """Whether the stride of a part of the function is the function's attribute."""
        reads = (part.reads,) if isinstance(part, Call) else part.reads
        return self.reads in reads and len(set(self._strides)) <= 1

    @property
    def _strides(self) -> list[tuple[int, int]]:
        found = (stride_of(layer) for layer in self.layers if self.reads in layer.reads)
        return [stride for stride in found if stride is not None]


Part = Layer | Call


def flat(parts: Sequence[Part]) -> Iterator[Layer]:
    """Yield the layers of parts, in order."""
    for part in parts:
        yield from flat(part.parts) if isinstance(part, Call) else (part,)


def stride_of(layer: Layer) -> tuple[int, int] | None:
    """Return the stride (bins, frames) of a layer, or None if it has none."""
    return layer.stride if isinstance(layer, ConvNorm | SubSpectralConv | Projection | AveragePool) else None


def parts_of(topology: Topology) -> tuple[Part, ...]:
    """Return all layers of a network in order, with repeated sequences as calls."""
    segments = list(_segments(topology.layers))
    counts = Counter(_signature(segment, topology) for segment in segments if len(segment) > 1)
    names = dict(zip((found for found, count in counts.items() if count > 1), _SEGMENTS, strict=False))
    parts: list[Part] = []
    for segment in segments:
        name = names.get(_signature(segment, topology)) if len(segment) > 1 else None
        parts += [Call(function=name, parts=segment, packed=True)] if name else segment
    for name in _CHAINS:
        chain = _longest_chain(parts, topology)
        if chain is None:
            break
        parts = _called(parts, name, chain, topology)
    return tuple(parts)


def functions_of(parts: Sequence[Part]) -> dict[str, Call]:
    """Return one call of each function, by the function's name; a function comes after those that it calls."""
    found: dict[str, Call] = {}
    for part in parts:
        if isinstance(part, Call):
            found |= {name: call for name, call in functions_of(part.parts).items() if name not in found}
            found.setdefault(part.function, part)
    return found


def _segments(layers: Sequence[Layer]) -> Iterator[tuple[Layer, ...]]:
    """Split layers at every place where only one tensor is alive."""
    last = {name: place for place, layer in enumerate(layers) for name in layer.reads}
    start = 0
    for place in range(len(layers)):
        if all(last.get(earlier.name, 0) <= place for earlier in layers[:place]):
            yield tuple(layers[start : place + 1])
            start = place + 1


def _signature(layers: Sequence[Layer], topology: Topology) -> tuple[Any, ...]:
    """Return what must be equal in two sequences for them to share a function."""
    outside = layers[0].reads[0]
    places = {layer.name: place for place, layer in enumerate(layers)}
    outer = {stride_of(layer) for layer in layers if outside in layer.reads} - {None}
    lengths = [vector for layer in layers for vector in _lengths(layer)]
    return (
        len(outer) <= 1,
        tuple(lengths.index(length) for length in lengths),
        *(
            (
                type(layer).__name__,
                tuple(places.get(name, -1) for name in layer.reads),
                layer.name in topology.nonnegative,
                None if outside in layer.reads and len(outer) <= 1 else stride_of(layer),
                _fixed(layer),
            )
            for layer in layers
        ),
    )


def _fixed(layer: Layer) -> tuple[Any, ...] | None:
    """Return the attributes of a layer that are written into a function."""
    match layer:
        case ConvNorm():
            return layer.kernel, layer.groups, layer.dilation, layer.pads_bins, layer.norm
        case SubSpectralConv():
            return layer.kernel, layer.channels, layer.bands
        case MaxPool():
            return (layer.stride,)
        case ResidualNorm():
            return (layer.shortcut,)
        case _:
            return None


def _lengths(layer: Layer) -> tuple[int, ...]:
    """Return the lengths of a layer's vectors that can be packed: one value for each output channel."""
    match layer:
        case ConvNorm() | Projection() | Dense():
            return (layer.outputs,)
        case SqueezeExcite():
            return (layer.channels,)
        case _:
            return ()


def _runs(parts: Sequence[Part], topology: Topology) -> Iterator[tuple[Layer, ...]]:
    """Yield the longest runs of inner layers, outside calls, in which each layer alone reads the one before it."""
    readers = Counter(name for layer in topology.layers for name in layer.reads)
    run: list[Layer] = []
    for part in parts:
        inner = isinstance(part, _INNER)
        if run and (not inner or part.reads != (run[-1].name,) or readers[run[-1].name] > 1):
            yield tuple(run)
            run = []
        if isinstance(part, _INNER):
            run.append(part)
    if run:
        yield tuple(run)


def _places(parts: Sequence[Part]) -> list[Sequence[Part]]:
    """Return every sequence that is written once: the parts themselves, and the body of each function they call."""
    return [parts, *(call.parts for call in functions_of(parts).values())]


def _longest_chain(parts: Sequence[Part], topology: Topology) -> tuple[Any, ...] | None:
    """Return the signature of the longest chain that is written more than once; its first item is the length."""
    runs = [run for place in _places(parts) for run in _runs(place, topology)]
    chains = {
        _chain(run[start:stop], topology)
        for run in runs
        for start in range(len(run))
        for stop in range(start + 2, len(run) + 1)
    }
    repeated = [chain for chain in chains if sum(_occurrences(run, chain, topology) for run in runs) > 1]
    return max(repeated, key=lambda chain: (chain[0], repr(chain)), default=None)


def _chain(layers: Sequence[Layer], topology: Topology) -> tuple[Any, ...]:
    return (len(layers), *_signature(layers, topology))


def _occurrences(run: Sequence[Layer], chain: tuple[Any, ...], topology: Topology) -> int:
    """Count the non-overlapping occurrences of a chain in a run."""
    length, place, count = chain[0], 0, 0
    while place + length <= len(run):
        found = _chain(run[place : place + length], topology) == chain
        count += found
        place += length if found else 1
    return count


def _called(parts: Sequence[Part], name: str, chain: tuple[Any, ...], topology: Topology) -> list[Part]:
    """Return the parts with a call in place of every chain of this signature."""
    found: list[Part] = []
    whole = {layer.name: run for run in _runs(parts, topology) for layer in run}
    place = 0
    while place < len(parts):
        part = parts[place]
        if isinstance(part, Call):
            inner = _called(part.parts, name, chain, topology)
            found.append(Call(function=part.function, parts=tuple(inner), packed=part.packed))
            place += 1
            continue
        run = whole.get(part.name, (part,))
        rest = run[run.index(part) : run.index(part) + chain[0]]
        if _chain(rest, topology) == chain:
            found.append(Call(function=name, parts=rest, packed=False))
            place += len(rest)
        else:
            found.append(part)
            place += 1
    return found
