"""Placeholders for tests that do not run an export: a session, gate figures and latencies."""

import numpy as np
from numpy.typing import NDArray

from asc.export.gate import Agreement, Latency

GATE = Agreement(
    clips=7,
    step=0.25,
    limit_steps=1,
    differing_share=0.1,
    largest_difference=0.25,
    argmax_differs=1,
    argmax_excused=1,
)
SPEED = Latency(seconds_of_audio=2.0, milliseconds=1.0, torch_float_milliseconds=4.0)


class NoSession:
    """A session that raises if it is used."""

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        raise NotImplementedError
