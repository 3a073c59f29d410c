"""The stored form and the fingerprint of a config, which stay compatible as keys are added.

The rule for a new config key: give it a default that changes nothing, and add no line here. `_FIRST_KEYS` are the keys
that the schema began with. Any other key is left out of fingerprints, checkpoints and model files while it has its
default, also in the table of a family. So files that were written before a key was added keep their fingerprint and
their meaning. `SCHEMA` changes
only if the meaning of a key changes; files of the old schema must then still be read or migrated.

A model must load even if it was trained with options that this version lacks: in the sections that only training reads
(`_TRAINING`), `readable` drops unknown keys.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from asc.typed import leaves

SCHEMA = 2
_FIRST_KEYS: Mapping[str, tuple[str, ...]] = {
    "front_end": ("sample_rate_hz", "window_s", "hop_s", "dft_points", "mel_bands", "log_offset"),
    "augment": ("crop_s", "speed_factors", "mixup_alpha"),
    "architecture": (
        "family",
        "widths",
        "depths",
        "se_bottlenecks",
        "frequency_strides",
        "time_strides",
        "cardinality",
        "classes",
    ),
    "compression": ("storage", "prune_ratio", "freeze_share"),
    "calibration": ("method", "fit_on"),
    "schedule": (
        "cycles",
        "epochs_per_cycle",
        "learning_rate_min",
        "learning_rate_max",
        "weight_decay",
        "batch_size",
    ),
}
_TRAINING = ("augment", "calibration", "schedule", "distillation")


def without_defaults(tree: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """A config's tree as files hold it: all first keys, and any later key that differs from its `default`."""
    kept: dict[str, Any] = {}
    for section, value in tree.items():
        if not isinstance(value, dict):
            if section == "seed" or value != default[section]:
                kept[section] = value
            continue
        first = _FIRST_KEYS.get(section, ())
        table = {
            key: _changed(v, default[section][key]) if key not in first else v
            for key, v in value.items()
            if key in first or v != default[section][key]
        }
        if table:
            kept[section] = table
    return kept


def _changed(value: Any, default: Any) -> Any:
    """A value, or of a nested table (the keys of one family) only what differs from its defaults."""
    if not isinstance(value, dict):
        return value
    return {key: v for key, v in value.items() if v != default[key]}


def readable(tree: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of a model file, without the training keys that are missing from `known`."""
    return {
        section: {key: v for key, v in value.items() if key in known[section]}
        if section in _TRAINING and isinstance(value, dict)
        else value
        for section, value in tree.items()
    }


def fingerprint(tree: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that name a config: SHA-256 of `tree` (from `without_defaults`) in canonical JSON."""
    canonical = json.dumps({"schema": SCHEMA, **dict(leaves(tree))}, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
