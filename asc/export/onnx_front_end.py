"""The front end as ONNX nodes, from waveforms to log-mel: `asc.audio.frontend.LogMel` in operators of opset 13.

The DFT is two matrix products (Cooley and Tukey 1965, https://doi.org/10.1090/S0025-5718-1965-0178586-1): with
points = rows x columns, sample n = row + rows tap, bin k = column + columns s and w = exp(-2 pi i / points)

    X[k] = sum over rows of w^(columns row s) (sum over taps of x[n] window[n] w^(n column))

The samples of a frame are gathered into rows. The inner sums are one matrix per row, which includes the Hann window;
the outer sums are one small matrix. For real input half of the columns suffice: bin `points - k` has the magnitude of
k. onnxruntime's own STFT takes twice the time and needs opset 17; a DFT as one matrix takes still longer. Nodes compute
all matrices from a few numbers when the file is loaded (constant folding), so they take almost no bytes.
"""

import math
from dataclasses import dataclass

from asc.audio.frontend import VARIANCE_FLOOR, noise_magnitude
from asc.audio.level import LARGEST
from asc.config.front_end import FrontEnd
from asc.export.onnx_graph import Graph

_FLOAT, _DOUBLE = 1, 11
_MOST_ROWS = 16
_LEAST_STEP = 1e-30
_BREAK_MEL, _BREAK_HZ = 15.0, 1000.0
"""Slaney's mel scale is linear up to here (200 / 3 Hz per mel), then logarithmic, in both torchaudio and librosa."""
_LOG_STEP = math.log(6.4) / 27
_HTK_HZ, _HTK_MEL = 700.0, 2595.0 / math.log(10)
"""HTK's scale: mel = 2595 log10(1 + hz / 700)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    """How the DFT is split; `kept` of the columns are computed, and the window spans `taps` samples per row."""

    rows: int
    columns: int
    kept: int
    taps: int


def _sizes(front_end: FrontEnd) -> _Sizes:
    points = front_end.dft_points
    rows = max(rows for rows in range(1, _MOST_ROWS + 1) if points % rows == 0)
    columns = points // rows
    return _Sizes(rows=rows, columns=columns, kept=columns // 2 + 1, taps=-(-front_end.window_samples // rows))


def add_front_end(graph: Graph, front_end: FrontEnd, waveform: str) -> str:
    """Add nodes from the value `waveform` to log-mel, and return the name of the log-mel value.

    `waveform` is (batch, samples), log-mel (batch, 1, mel_bands, frames) in natural log, both float32. As in
    `asc.inference.predict`, waveforms are first rounded to 16 bits with their peak at full scale. A clip shorter than a
    hop has no frames: onnxruntime then fails when the network runs.
    """
    sizes = _sizes(front_end)
    rounded, step = _rounded(graph, waveform)
    magnitudes = _magnitudes(graph, front_end, sizes, _frames(graph, front_end, sizes, rounded))
    filters = _filters(graph, front_end, sizes)
    mel = graph.node("ReduceSum", graph.node("MatMul", magnitudes, filters), graph.whole(1))
    if front_end.noise_steps:
        mel = graph.node("Add", mel, _noise(graph, front_end, filters, step))
    log_mel = graph.node("Log", graph.node("Add", mel, graph.number(front_end.log_offset)))
    bands_first = graph.node("Transpose", log_mel, perm=[0, 1, 3, 2])
    match front_end.normalisation:
        case "mean_over_time":
            return graph.node("Sub", bands_first, graph.node("ReduceMean", bands_first, axes=[3]))
        case "residual":
            return _residual(graph, bands_first, front_end.residual_lambda)
        case "none" | "per_band":  # the network's first layer normalises per band
            return bands_first


def _residual(graph: Graph, x: str, weight: float) -> str:
    """Return log-mel (batch, 1, bands, frames) after `asc.audio.frontend.residual`, with its own mean and variance."""
    centred = graph.node("Sub", x, graph.node("ReduceMean", x, axes=[3]))
    variance = graph.node("ReduceMean", graph.node("Mul", centred, centred), axes=[3])
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.number(VARIANCE_FLOOR)))
    scaled = graph.node("Mul", x, graph.number(weight))
    return graph.node("Add", scaled, graph.node("Div", centred, deviation))


def _rounded(graph: Graph, waveform: str) -> tuple[str, str]:
    """Return the waveform rounded to 16 bits with each clip's peak at full scale, and the size of a step (batch, 1).

    This is `asc.audio.level.quantise`, in double precision as there: in single precision some loud samples would be
    rounded the other way. The step of a silent clip is slightly above 0.
    """
    peak = graph.node("Cast", graph.node("ReduceMax", graph.node("Abs", waveform), axes=[1]), to=_DOUBLE)
    step = graph.node("Max", graph.node("Div", peak, graph.double(float(LARGEST))), graph.double(_LEAST_STEP))
    steps = graph.node("Round", graph.node("Div", graph.node("Cast", waveform, to=_DOUBLE), step))
    step = graph.node("Cast", step, to=_FLOAT)
    return graph.node("Mul", graph.node("Cast", steps, to=_FLOAT), step), step


def _noise(graph: Graph, front_end: FrontEnd, filters: str, step: str) -> str:
    """Return the noise floor (batch, 1, 1, bands) for steps (batch, 1), from doubled filters (rows, columns, bands)."""
    of_bands = graph.node("ReduceSum", filters, graph.whole(0, 1), keepdims=0)
    of_step = graph.node("Mul", of_bands, graph.number(noise_magnitude(front_end) / 2))
    return graph.node("Mul", graph.node("Reshape", step, graph.whole(-1, 1, 1, 1)), of_step)


def _frames(graph: Graph, front_end: FrontEnd, sizes: _Sizes, waveform: str) -> str:
    """Return samples as (batch, 1, rows, frames, taps): frame t is centred on sample t x hop, padded with zeros."""
    points, window, hop = front_end.dft_points, front_end.window_samples, graph.number(front_end.hop_samples)
    before = points // 2 - (points - window) // 2
    padded = graph.node("Pad", waveform, graph.whole(0, before, 0, sizes.rows * sizes.taps))
    samples = graph.node("Gather", graph.node("Shape", waveform), graph.number(1))
    frames = graph.node("Range", graph.number(0), graph.node("Div", samples, hop), graph.number(1))
    starts = graph.node("Reshape", graph.node("Mul", frames, hop), graph.whole(-1, 1))
    by_tap = graph.node("Reshape", _samples(graph, sizes), graph.whole(1, sizes.taps, 1, sizes.rows))
    offsets = graph.node("Transpose", by_tap, perm=[0, 3, 2, 1])
    return graph.node("Gather", padded, graph.node("Add", offsets, starts), axis=1)


def _samples(graph: Graph, sizes: _Sizes) -> str:
    """Return the sample numbers of a frame: 0 to rows x taps - 1."""
    return graph.node("Range", graph.number(0), graph.number(sizes.rows * sizes.taps), graph.number(1))


def _columns(graph: Graph, sizes: _Sizes) -> str:
    return graph.node("Range", graph.number(0), graph.number(sizes.kept), graph.number(1))


def _rows(graph: Graph, sizes: _Sizes) -> str:
    return graph.node("Range", graph.number(0), graph.number(sizes.rows), graph.number(1))


def _magnitudes(graph: Graph, front_end: FrontEnd, sizes: _Sizes, frames: str) -> str:
    """Return half the DFT magnitudes, (batch, rows, frames, columns), of bins column + columns x row."""
    inner = graph.node("MatMul", frames, _inner_matrix(graph, front_end, sizes))
    flat = graph.node("Reshape", inner, graph.whole(0, 2 * sizes.rows, -1))
    outer = graph.node("MatMul", _outer_matrix(graph, sizes), flat)
    parts = graph.node("Reshape", outer, graph.whole(0, 2, sizes.rows, -1, sizes.kept))
    return graph.node("ReduceL2", parts, axes=[1], keepdims=0)


def _angles(graph: Graph, one: str, other: str, period: int) -> str:
    """Return 2 pi x `one` x `other` / `period` as double, for whole numbers.

    The product is first taken modulo `period`. In single precision an angle would be off by up to 2e-7, which matters
    in bands 120 dB below others.
    """
    whole = graph.node("Mod", graph.node("Mul", one, other), graph.number(period))
    return graph.node("Mul", graph.node("Cast", whole, to=_DOUBLE), graph.double(2 * math.pi / period))


def _cosine(graph: Graph, angles: str) -> str:
    """Return the cosine as a sine shifted by a quarter turn: onnxruntime 1.22 has only Sin in double."""
    return graph.node("Sin", graph.node("Add", angles, graph.double(math.pi / 2)))


def _inner_matrix(graph: Graph, front_end: FrontEnd, sizes: _Sizes) -> str:
    """Return the matrices (cosine and sine, rows, taps, columns) of the inner sums, times half the Hann window."""
    samples = graph.node("Reshape", _samples(graph, sizes), graph.whole(-1, 1))
    angles = _angles(graph, samples, _columns(graph, sizes), front_end.dft_points)
    waves = graph.node("Concat", _cosine(graph, angles), graph.node("Sin", angles), axis=1)
    # Samples beyond the window are clamped to its end, where the Hann function is zero.
    window = front_end.window_samples
    inside = graph.node("Min", samples, graph.number(window))
    cosine = _cosine(graph, _angles(graph, inside, graph.number(1), window))
    half_window = graph.node("Mul", graph.node("Sub", graph.double(1.0), cosine), graph.double(0.25))
    windowed = graph.node("Cast", graph.node("Mul", waves, half_window), to=_FLOAT)
    by_tap = graph.node("Reshape", windowed, graph.whole(sizes.taps, sizes.rows, 2, sizes.kept))
    return graph.node("Transpose", by_tap, perm=[2, 1, 0, 3])


def _outer_matrix(graph: Graph, sizes: _Sizes) -> str:
    """Return the matrix ((real, imaginary) x rows, (cosine, sine) x rows) of the outer sums.

    The imaginary part has the wrong sign, which does not matter for magnitudes.
    """
    rows = _rows(graph, sizes)
    angles = _angles(graph, graph.node("Reshape", rows, graph.whole(-1, 1)), rows, sizes.rows)
    cosine, sine = _cosine(graph, angles), graph.node("Sin", angles)
    real = graph.node("Concat", cosine, graph.node("Neg", sine), axis=1)
    both = graph.node("Concat", real, graph.node("Concat", sine, cosine, axis=1), axis=0)
    return graph.node("Cast", both, to=_FLOAT)


def _filters(graph: Graph, front_end: FrontEnd, sizes: _Sizes) -> str:
    """Return twice the mel filters, (rows, columns, bands): triangles at the frequencies of the bins.

    The factor 2 stands for the mirrored columns that are not computed. Columns 0 and columns / 2 mirror themselves and
    hold each of their bins twice, so they are not doubled.
    """
    low, middle, high = _corners(graph, front_end)
    hz = _bins_hz(graph, front_end, sizes)
    rising = graph.node("Div", graph.node("Sub", hz, low), graph.node("Sub", middle, low))
    falling = graph.node("Div", graph.node("Sub", high, hz), graph.node("Sub", high, middle))
    filters = graph.node("Relu", graph.node("Min", rising, falling))
    mirrors = sizes.columns // 2 if sizes.columns % 2 == 0 else sizes.columns
    columns = graph.node("Reshape", _columns(graph, sizes), graph.whole(-1, 1))
    other = graph.node("Min", graph.node("Mod", columns, graph.number(mirrors)), graph.number(1))
    times = graph.node("Cast", graph.node("Add", other, graph.number(1)), to=_FLOAT)
    return graph.node("Mul", filters, times)


def _bins_hz(graph: Graph, front_end: FrontEnd, sizes: _Sizes) -> str:
    """Return the frequencies (rows, columns, 1) in Hz of bins column + columns x row, mirrored at half the rate."""
    rows = graph.node("Reshape", _rows(graph, sizes), graph.whole(-1, 1))
    bins = graph.node("Add", graph.node("Mul", rows, graph.number(sizes.columns)), _columns(graph, sizes))
    mirrored = graph.node("Min", bins, graph.node("Sub", graph.number(front_end.dft_points), bins))
    hz = graph.number(front_end.sample_rate_hz / front_end.dft_points)
    shape = graph.whole(sizes.rows, sizes.kept, 1)
    return graph.node("Mul", graph.node("Cast", graph.node("Reshape", mirrored, shape), to=_FLOAT), hz)


def _corners(graph: Graph, front_end: FrontEnd) -> tuple[str, str, str]:
    """Return the frequencies (bands,) in Hz at which each triangle begins, peaks and ends, equally spaced in mel."""
    bands = graph.node("Range", graph.number(0), graph.number(front_end.mel_bands), graph.number(1))
    three = graph.node("Range", graph.number(0), graph.number(3), graph.number(1))
    numbers = graph.node("Add", bands, graph.node("Reshape", three, graph.whole(-1, 1)))
    highest, steps = front_end.sample_rate_hz / 2, front_end.mel_bands + 1
    if front_end.mel_scale == "htk":
        hz = _htk_hz(graph, numbers, _HTK_MEL * math.log1p(highest / _HTK_HZ) / steps)
    else:
        hz = _slaney_hz(graph, numbers, _mel(highest) / steps)
    low, middle, high = (graph.node("Gather", hz, graph.number(number)) for number in range(3))
    return low, middle, high


def _slaney_hz(graph: Graph, numbers: str, step: float) -> str:
    """Return the frequencies (any shape) in Hz of whole numbers of steps in mel."""
    mel = graph.node("Mul", graph.node("Cast", numbers, to=_FLOAT), graph.number(step))
    above = graph.node("Mul", graph.node("Sub", mel, graph.number(_BREAK_MEL)), graph.number(_LOG_STEP))
    above_hz = graph.node("Mul", graph.node("Exp", above), graph.number(_BREAK_HZ))
    below_hz = graph.node("Mul", mel, graph.number(_BREAK_HZ / _BREAK_MEL))
    return graph.node("Where", graph.node("Less", mel, graph.number(_BREAK_MEL)), below_hz, above_hz)


def _htk_hz(graph: Graph, numbers: str, step: float) -> str:
    """Return the frequencies in Hz, computed in double precision, because the lowest bands are only some Hz wide."""
    exponent = graph.node("Mul", graph.node("Cast", numbers, to=_DOUBLE), graph.double(step / _HTK_MEL))
    above_zero = graph.node("Sub", graph.node("Exp", exponent), graph.double(1.0))
    return graph.node("Cast", graph.node("Mul", above_zero, graph.double(_HTK_HZ)), to=_FLOAT)


def _mel(hz: float) -> float:
    """Convert Hz to Slaney's mel."""
    if hz < _BREAK_HZ:
        return hz * _BREAK_MEL / _BREAK_HZ
    return _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP
