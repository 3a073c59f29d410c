"""Pictures are reproducible and have the requested size."""

import struct
import sys

from asc.report.confusion import confusion_figure
from asc.report.picture import canvas, png
from asc.results import Examination


def test_equal_figures_give_equal_files_of_the_requested_size(examination: Examination) -> None:
    assert png(confusion_figure(examination)) == png(confusion_figure(examination))
    data = png(canvas(4, 2))
    assert struct.unpack(">II", data[16:24]) == (600, 300)
    assert "matplotlib.pyplot" not in sys.modules, "pyplot has global state"
