"""Damage or forge model files, read them, and count the outcomes."""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asc.errors import InputError
from asc.model_file.artefact import load_model

_MARK = b'"checksum":"'
_DIGITS = 32
_EXCHANGE = str.maketrans({"'": '"', '"': "'"})
_TELLING = b"0123456789.eE+-truefalsn'\"\\{}[]:, \x00\xff"
_NUMBERS = (0, -1, 1, 3, 10**6, 10**12, 2**63, 1e-300, 1e300)
_STRANGE: tuple[Any, ...] = (*_NUMBERS, True, None, "x", "", [], [1], [0] * 6, {}, {"a": 1})


@dataclass(kw_only=True)
class Counts:
    """Number of mutated files that were refused, that ran as another network, and that were unchanged."""

    refused: int = 0
    ran: int = 0
    unchanged: int = 0


def fuzz(path: Path, *, seed: int, mutations: int, sealed: bool) -> Counts:
    """Mutate a model file and read it, and fail unless the result is a network that runs or a one-line InputError.

    `sealed` files get a valid checksum, so that the checks after it are reached. A file that is not sealed must be
    refused, unless its bytes are unchanged.
    """
    whole, rng, counts = path.read_bytes(), random.Random(seed), Counts()
    target = path.with_name("forged.safetensors")
    for number in range(mutations):
        data = rng.choice(_MUTATIONS)(whole, rng)
        data = seal(data) if sealed else data
        target.write_bytes(data)
        try:
            network, info = load_model(target)
        except InputError as error:
            assert str(error).startswith(str(target)) and "\n" not in str(error), (seed, number, str(error))
            counts.refused += 1
            continue
        if data == whole:
            counts.unchanged += 1
            continue
        assert sealed, (seed, number, "a damaged file was read")
        logits = network(torch.zeros(1, 1, info.experiment.front_end.mel_bands, 8))
        assert logits.shape == (1, len(info.labels)), (seed, number)
        counts.ran += 1
    return counts


def seal(data: bytes) -> bytes:
    """Return the file with a valid checksum, or unchanged if it has no checksum field."""
    place = data.find(_MARK) + len(_MARK)
    if place < len(_MARK) or len(data) < place + _DIGITS:
        return data
    blank = data[:place] + b"0" * _DIGITS + data[place + _DIGITS :]
    digits = hashlib.blake2b(blank, digest_size=_DIGITS // 2).hexdigest().encode()
    return blank[:place] + digits + blank[place + _DIGITS :]


def _bytes_anywhere(data: bytes, rng: random.Random) -> bytes:
    altered = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 16))):
        altered[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(altered)


def _bytes_of_the_header(data: bytes, rng: random.Random) -> bytes:
    altered = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(8, 8 + len(_header(data)))
        altered[place] = rng.choice(_TELLING)
    return bytes(altered)


def _length(data: bytes, rng: random.Random) -> bytes:
    altered = rng.choice((0, 1, 7, 2**16, 2**31, 2**63, 2**64 - 1, len(data), rng.randrange(len(data))))
    return altered.to_bytes(8, "little") + data[8:]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _piece(data: bytes, rng: random.Random) -> bytes:
    """Remove, double or zero a piece."""
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.choice((1, 4, 100, 5_000)))
    return data[:start] + rng.choice((b"", 2 * data[start:end], bytes(end - start))) + data[end:]


def _value(data: bytes, rng: random.Random) -> bytes:
    """Replace a value in one of the header's texts."""

    def change(header: dict[str, Any]) -> None:
        metadata = header["__metadata__"]
        section = rng.choice([key for key in metadata if key not in ("asc", "checksum", "fingerprint")])
        tree = json.loads(metadata[section].translate(_EXCHANGE))
        node, key = _anywhere(tree, rng)
        node[key] = rng.choice(_STRANGE)
        metadata[section] = json.dumps(tree, separators=(",", ":")).translate(_EXCHANGE)

    return _with_header(data, change)


def _config(data: bytes, rng: random.Random) -> bytes:
    """Change the config, and its fingerprint to match if the config is valid."""
    from asc.config.experiment import Experiment
    from asc.typed import build

    def change(header: dict[str, Any]) -> None:
        metadata = header["__metadata__"]
        tree = json.loads(metadata["config"].translate(_EXCHANGE))
        node, key = _anywhere(tree, rng)
        node[key] = node[key] * rng.choice((0, 2, 3, -1, 1000)) if type(node[key]) is int else rng.choice(_STRANGE)
        metadata["config"] = json.dumps(tree, separators=(",", ":")).translate(_EXCHANGE)
        try:
            metadata["fingerprint"] = build(Experiment, tree).fingerprint
        except InputError:
            return

    return _with_header(data, change)


def _place(data: bytes, rng: random.Random) -> bytes:
    """Change a tensor's offsets, shape, type or name."""

    def change(header: dict[str, Any]) -> None:
        name = rng.choice([key for key in header if key != "__metadata__"])
        key = rng.choice(("dtype", "shape", "data_offsets", "name"))
        if key == "name":
            header[rng.choice(("weight", "bias", "se", "other"))] = header.pop(name)
        else:
            header[name][key] = rng.choice((*_STRANGE, "F64", "U8", "F16", [1, 2], [0, 10**12]))

    return _with_header(data, change)


_MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _bytes_anywhere,
    _bytes_of_the_header,
    _length,
    _cut,
    _piece,
    _value,
    _config,
    _place,
)


def _header(data: bytes) -> bytes:
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def _with_header(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return the file with a changed header, padded to the old length if it is shorter."""
    text = _header(data)
    header = json.loads(text)
    change(header)
    changed = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(len(text))
    return len(changed).to_bytes(8, "little") + changed + data[8 + len(text) :]


def _anywhere(tree: Any, rng: random.Random) -> tuple[Any, Any]:
    """Return a random place in a tree as (container, key)."""
    places = []
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(child, dict | list):
                nodes.append(child)
    return rng.choice(places)
