"""Writes an ONNX function in ONNX's text form, node by node, just as a graph is built.

https://github.com/onnx/onnx/blob/main/docs/Syntax.md
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from asc.export.onnx_graph import DOMAIN
from asc.export.onnx_parts import OPSET
from asc.models import layers
from asc.topology.layers import ResidualNorm, ResponseNorm
from asc.topology.topology import Topology

STRIDE: Final = "@s"
"""An attribute's value that refers to the function's own attribute `s`."""
OUTPUT = "y"
HEAD = f'<domain: "{DOMAIN}", opset_import: ["": {OPSET}, "{DOMAIN}": 1]>'


_RESPONSE: Final = f"""{HEAD}
R (x, weight, bias) => (y) {{
    smallest = Constant <value = float {{{layers.ResponseNorm.SMALLEST}}}> ()
    offset = Constant <value = float {{{layers.ResponseNorm.OFFSET}}}> ()
    one = Constant <value = float {{1}}> ()
    square = Mul (x, x)
    mean_square = GlobalAveragePool (square)
    above_zero = Add (mean_square, smallest)
    norm = Sqrt (above_zero)
    mean = ReduceMean <axes = [1]> (norm)
    divisor = Add (mean, offset)
    relative = Div (norm, divisor)
    weighted = Mul (relative, weight)
    factor = Add (weighted, one)
    scaled = Mul (x, factor)
    y = Add (scaled, bias)
}}"""
"""Global response normalisation without its ReLU, as function `R`."""

_RESIDUAL: Final = f"""{HEAD}
N <l> (x) => (y) {{
    smallest = Constant <value = float {{{layers.ResidualNorm.SMALLEST}}}> ()
    shortcut = Constant <value_float: float = @l> ()
    mean = ReduceMean <axes = [1, 3]> (x)
    from_mean = Sub (x, mean)
    square = Mul (from_mean, from_mean)
    variance = ReduceMean <axes = [1, 3]> (square)
    above_zero = Add (variance, smallest)
    deviation = Sqrt (above_zero)
    normalised = Div (from_mean, deviation)
    kept = Mul (x, shortcut)
    y = Add (kept, normalised)
}}"""
"""Residual normalisation with the factor `l` of its shortcut, as function `N`."""


def norms_of(topology: Topology) -> dict[str, str]:
    """The texts of the functions that the norms of a network need, by name."""
    texts = {}
    if any(isinstance(layer, ResponseNorm) for layer in topology.layers):
        texts["R"] = _RESPONSE
    if any(isinstance(layer, ResidualNorm) for layer in topology.layers):
        texts["N"] = _RESIDUAL
    return texts


class Sink(Protocol):
    """Takes nodes: a graph, or the text of a function."""

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node for an operator or a function and return the name of its output; an empty input is left out."""


class FunctionText:
    """Collects the nodes of a function that has one attribute, the stride `s`, and one output."""

    def __init__(self, name: str, inputs: Sequence[str], *, functions: Sequence[str]) -> None:
        """Start an empty function; `functions` are the names of the functions that it may call."""
        self._name, self._inputs, self._functions = name, inputs, functions
        self._lines: list[str] = []

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node (see `Sink`)."""
        name = output or f"t{len(self._lines)}"
        self.nodes(operator, inputs, [name], **attributes)
        return name

    def nodes(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Add a node with outputs of these names."""
        given = list(inputs)
        while given and not given[-1]:
            given.pop()
        named = f"{DOMAIN}.{operator}" if operator in self._functions else operator
        settings = ", ".join(map(_attribute, attributes.items()))
        taken = ", ".join(name or '""' for name in given)
        self._lines.append(f"{', '.join(outputs)} = {named} {f'<{settings}> ' if settings else ''}({taken})")

    def text(self) -> str:
        """Return the function's text; one of its nodes must have the output `OUTPUT`."""
        body = "\n".join(self._lines)
        return f"{HEAD}\n{self._name} <s> ({', '.join(self._inputs)}) => ({OUTPUT}) {{\n{body}\n}}"


def _attribute(item: tuple[str, Any]) -> str:
    name, value = item
    return f"{name}: ints = @s" if value == STRIDE else f"{name} = {value}"
