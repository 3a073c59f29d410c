"""Our averages of the published tables equal the means published with them."""

import pytest

from asc.console.published import tau2020
from asc.results import macro


def test_the_averages_of_the_baseline_equal_its_published_means() -> None:
    published = tau2020()
    baseline = published.systems[0]
    assert len(published.baseline_classes) == 10 and len(published.baseline_devices) == 9
    classes = published.baseline_classes.values()
    assert round(macro(row.log_loss for row in classes), 3) == baseline.log_loss == 1.473
    assert round(macro(row.accuracy_percent for row in classes), 1) == baseline.accuracy_percent == 47.7
    losses = list(published.baseline_devices.values())
    assert round(macro(losses), 3) == 1.473
    assert round(macro(losses[:6]), 3) == published.baseline_exposure["seen"] == 1.335
    assert round(macro(losses[6:]), 3) == published.baseline_exposure["unseen"] == 1.749


def test_systems_calibrated_on_test_clips_are_marked() -> None:
    systems = tau2020().systems
    assert [system.optimistic for system in systems] == [False, False, True, True, False]
    assert all(system.source for system in systems)


def test_the_mean_of_nothing_is_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        macro([])
