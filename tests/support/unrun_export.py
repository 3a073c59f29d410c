"""What stands beside an export in tests that do not run it: a session that nobody asks, figures of a gate, times."""

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
    """Raises where it is asked."""

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        raise NotImplementedError
