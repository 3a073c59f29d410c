import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from torch import Tensor

from asc.metrics import evaluation
from asc.results import Evaluation

LABELS = tuple("abcdefghij")
MISSING = (3, 9)


def drawn(seed: int, clips: int = 400) -> tuple[Tensor, Tensor, list[str]]:
    """Logits that know something, of unequal classes of which two are missing, from three unequal devices."""
    rng = np.random.default_rng(seed)
    present = [number for number in range(10) if number not in MISSING]
    shares = np.arange(1, len(present) + 1) / np.arange(1, len(present) + 1).sum()
    targets = rng.choice(present, size=clips, p=shares)
    logits = rng.normal(size=(clips, 10)) * 2
    logits[np.arange(clips), targets] += 1.5
    devices = rng.choice(["s1", "a", "b"], size=clips, p=[0.1, 0.7, 0.2])
    return torch.tensor(logits, dtype=torch.float32), torch.tensor(targets), devices.tolist()


def measured(seed: int) -> tuple[Evaluation, np.ndarray, np.ndarray, list[str]]:
    logits, targets, devices = drawn(seed)
    figures = evaluation(logits, targets, labels=LABELS, devices=devices, split="valid")
    return figures, torch.softmax(logits.double(), dim=1).numpy(), targets.numpy(), devices


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("seed", range(3))
def test_micro_and_macro_figures_are_scikit_learns(seed: int) -> None:
    figures, probabilities, targets, _ = measured(seed)
    guesses = probabilities.argmax(axis=1)
    classes = np.arange(10)
    assert figures.clips == 400 and figures.split == "valid"
    assert figures.micro_log_loss == pytest.approx(log_loss(targets, probabilities, labels=classes), rel=1e-9)
    assert figures.micro_accuracy == pytest.approx(accuracy_score(targets, guesses), rel=1e-12)
    assert figures.accuracy == pytest.approx(balanced_accuracy_score(targets, guesses), rel=1e-12)
    counts = np.bincount(targets, minlength=10)
    weights = 1.0 / counts[targets]
    macro = log_loss(targets, probabilities, labels=classes, sample_weight=weights)
    assert figures.log_loss == pytest.approx(macro, rel=1e-9)
    assert abs(figures.log_loss - figures.micro_log_loss) > 1e-3, "the two means must differ for this to prove a thing"


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_classes_are_scikit_learns_and_missing_classes_have_none(seed: int) -> None:
    figures, probabilities, targets, _ = measured(seed)
    assert [row.name for row in figures.per_class] == [label for n, label in enumerate(LABELS) if n not in MISSING]
    for row in figures.per_class:
        mask = targets == LABELS.index(row.name)
        assert row.clips == mask.sum()
        expected = log_loss(targets[mask], probabilities[mask], labels=np.arange(10))
        assert row.log_loss == pytest.approx(expected, rel=1e-9)
        assert row.accuracy == pytest.approx(accuracy_score(targets[mask], probabilities[mask].argmax(axis=1)))


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_devices_are_macro_over_the_classes_that_they_recorded(seed: int) -> None:
    figures, probabilities, targets, devices = measured(seed)
    assert [row.name for row in figures.per_device] == ["a", "b", "s1"]
    for row in figures.per_device:
        mask = np.array(devices) == row.name
        own, scores = targets[mask], probabilities[mask]
        weights = 1.0 / np.bincount(own, minlength=10)[own]
        assert row.clips == mask.sum()
        expected = log_loss(own, scores, labels=np.arange(10), sample_weight=weights)
        assert row.log_loss == pytest.approx(expected, rel=1e-9)
        expected = accuracy_score(own, scores.argmax(axis=1), sample_weight=weights)
        assert row.accuracy == pytest.approx(expected, rel=1e-9)


def test_sure_and_wrong_logits_give_a_finite_log_loss() -> None:
    logits = torch.tensor([[1000.0, -1000.0], [1000.0, -1000.0]])
    figures = evaluation(logits, torch.tensor([0, 1]), labels="ab", devices="xx", split="test")
    assert figures.log_loss == pytest.approx(1000.0)
    assert figures.accuracy == 0.5


# Official baseline of DCASE 2021 task 1a on the development test split: log loss and accuracy in % of each class;
# https://dcase.community/challenge2021/task-acoustic-scene-classification publishes their means as 1.473 and 47.7 %.
BASELINE = {
    "airport": (1.429, 40.5),
    "bus": (1.317, 47.1),
    "metro": (1.318, 51.9),
    "metro_station": (1.999, 28.3),
    "park": (1.166, 69.0),
    "public_square": (2.139, 25.3),
    "shopping_mall": (1.091, 61.3),
    "street_pedestrian": (1.827, 38.7),
    "street_traffic": (1.338, 62.0),
    "tram": (1.105, 53.0),
}


def _clips_of(number: int, clips: int, figures: tuple[float, float]) -> Tensor:
    """Logits of one class with exactly this accuracy and mean log loss: all hits are alike, and so are all misses."""
    mean, hits = figures[0], round(clips * figures[1] / 100)
    hit_loss = 0.3
    miss_loss = (mean * clips - hit_loss * hits) / (clips - hits)
    assert miss_loss > np.log(2), "so that the other class has more than half of the probability"
    probabilities = torch.full((clips, 10), 1e-12, dtype=torch.float64)
    losses = torch.tensor([hit_loss] * hits + [miss_loss] * (clips - hits), dtype=torch.float64)
    probabilities[:, number] = torch.exp(-losses)
    probabilities[:, (number + 1) % 10] = 1 - torch.exp(-losses)
    return probabilities.log()


def test_the_baselines_table_of_classes_gives_its_published_means() -> None:
    """Macro, whatever the numbers of clips: with these the mean over clips is another figure."""
    counts = [1000 if number < 5 else 4000 for number in range(10)]
    logits = torch.cat([_clips_of(n, counts[n], figures) for n, figures in enumerate(BASELINE.values())])
    targets = torch.repeat_interleave(torch.arange(10), torch.tensor(counts))
    found = evaluation(logits, targets, labels=tuple(BASELINE), devices=["a"] * len(targets), split="test")
    assert round(found.log_loss, 3) == 1.473
    assert round(found.accuracy * 100, 1) == 47.7
    assert round(found.micro_log_loss, 3) != 1.473 and round(found.micro_accuracy * 100, 1) != 47.7
    assert found.per_device[0].log_loss == pytest.approx(found.log_loss), "one device with all clips is the whole"
    for row, (loss, accuracy) in zip(found.per_class, BASELINE.values(), strict=True):
        assert row.log_loss == pytest.approx(loss, abs=1e-9)
        assert row.accuracy * 100 == pytest.approx(accuracy, abs=1e-9)
