"""The picture of the confusion matrix."""

import dataclasses

import numpy as np

from asc.report.confusion import confusion_figure
from asc.report.picture import png
from asc.results import Examination


def test_colours_are_shares_of_the_true_class_and_texts_are_counts(examination: Examination) -> None:
    axes = confusion_figure(examination).axes[0]
    counts = np.array(examination.confusion)
    drawn = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(drawn, counts / counts.sum(axis=1, keepdims=True))
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(j, i): str(counts[i, j]) for i, j in np.ndindex(*counts.shape) if counts[i, j]}
    assert [label.get_text() for label in axes.get_yticklabels()] == list(examination.labels)
    assert "80 clips" in axes.get_title() and "optimistic" not in axes.get_title()


def test_the_optimistic_mark_is_in_the_title(examination: Examination) -> None:
    assert confusion_figure(examination, ", optimistic").axes[0].get_title().endswith(", optimistic")


def test_many_classes_and_one_without_clips_can_be_drawn(examination: Examination) -> None:
    many = dataclasses.replace(
        examination,
        labels=tuple(f"class {number}" for number in range(50)),
        confusion=tuple(tuple(3 * (i == j) * (i > 0) for j in range(50)) for i in range(50)),
    )
    figure = confusion_figure(many)
    assert not figure.axes[0].texts, "50 x 50 counts would not be legible"
    assert png(figure).startswith(b"\x89PNG")
