"""The picture of the reliability diagram."""

import numpy as np

from asc.report.reliability import reliability_figure
from asc.results import Examination


def test_bars_are_accuracies_over_a_histogram_of_clips(examination: Examination) -> None:
    diagram, histogram = reliability_figure(examination).axes
    filled = [row for row in examination.reliability if row.clips]
    assert [bar.get_height() for bar in diagram.patches] == [row.accuracy for row in filled]  # type: ignore[attr-defined]
    assert [bar.get_height() for bar in histogram.patches] == [  # type: ignore[attr-defined]
        row.clips for row in examination.reliability
    ]
    diagonal = diagram.lines[0].get_xydata()
    assert np.array_equal(np.asarray(diagonal), [[0, 0], [1, 1]])
    assert f"error {examination.evaluation.calibration_error:.3f}" in diagram.get_title()
    assert "80 clips" in diagram.get_title()


def test_the_optimistic_mark_is_in_the_title(examination: Examination) -> None:
    assert reliability_figure(examination, ", optimistic").axes[0].get_title().endswith(", optimistic")
