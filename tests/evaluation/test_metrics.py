import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, log_loss
from torch import Tensor

from asc.console.published import tau2020
from asc.evaluation.metrics import BINS, calibration_error, confusion, evaluation, reliability
from asc.results import Evaluation

LABELS = tuple("abcdefghij")
MISSING = (3, 9)


def drawn(seed: int, clips: int = 400) -> tuple[Tensor, Tensor, list[str]]:
    """Draw logits that are better than chance, from unequal classes (two missing) and three unequal devices.

    Returns logits (clips, 10) float32, targets (clips,) int64 and one device name per clip.
    """
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
def test_micro_and_macro_figures_equal_scikit_learn(seed: int) -> None:
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
    assert abs(figures.log_loss - figures.micro_log_loss) > 1e-3, "the two means must differ to prove anything"


@pytest.mark.parametrize("seed", range(3))
def test_class_rows_equal_scikit_learn_and_missing_classes_have_none(seed: int) -> None:
    figures, probabilities, targets, _ = measured(seed)
    assert [row.name for row in figures.per_class] == [label for n, label in enumerate(LABELS) if n not in MISSING]
    for row in figures.per_class:
        mask = targets == LABELS.index(row.name)
        assert row.clips == mask.sum()
        expected = log_loss(targets[mask], probabilities[mask], labels=np.arange(10))
        assert row.log_loss == pytest.approx(expected, rel=1e-9)
        assert row.accuracy == pytest.approx(accuracy_score(targets[mask], probabilities[mask].argmax(axis=1)))


@pytest.mark.parametrize("seed", range(3))
def test_device_rows_are_macro_means_over_the_recorded_classes(seed: int) -> None:
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


def test_confident_wrong_logits_give_a_finite_log_loss() -> None:
    logits = torch.tensor([[1000.0, -1000.0], [1000.0, -1000.0]])
    figures = evaluation(logits, torch.tensor([0, 1]), labels="ab", devices="xx", split="test")
    assert figures.log_loss == pytest.approx(1000.0)
    assert figures.accuracy == 0.5


# Per-class log loss and accuracy (%) of the official baseline.
BASELINE = {name: (row.log_loss, row.accuracy_percent) for name, row in tau2020().baseline_classes.items()}


def _clips_of(number: int, clips: int, figures: tuple[float, float]) -> Tensor:
    """Logits (clips, 10) of one class with exactly these figures: all hits are equal, and so are all misses."""
    mean, hits = figures[0], round(clips * figures[1] / 100)
    hit_loss = 0.3
    miss_loss = (mean * clips - hit_loss * hits) / (clips - hits)
    assert miss_loss > np.log(2), "the other class must have more than half of the probability"
    probabilities = torch.full((clips, 10), 1e-12, dtype=torch.float64)
    losses = torch.tensor([hit_loss] * hits + [miss_loss] * (clips - hits), dtype=torch.float64)
    probabilities[:, number] = torch.exp(-losses)
    probabilities[:, (number + 1) % 10] = 1 - torch.exp(-losses)
    return probabilities.log()


def test_the_published_class_rows_give_the_published_means() -> None:
    """The means are macro: the clip counts are chosen so that the mean over clips differs."""
    counts = [1000 if number < 5 else 4000 for number in range(10)]
    logits = torch.cat([_clips_of(n, counts[n], figures) for n, figures in enumerate(BASELINE.values())])
    targets = torch.repeat_interleave(torch.arange(10), torch.tensor(counts))
    found = evaluation(logits, targets, labels=tuple(BASELINE), devices=["a"] * len(targets), split="test")
    assert round(found.log_loss, 3) == 1.473
    assert round(found.accuracy * 100, 1) == 47.7
    assert round(found.micro_log_loss, 3) != 1.473 and round(found.micro_accuracy * 100, 1) != 47.7
    assert found.per_device[0].log_loss == pytest.approx(found.log_loss), "one device has all the clips"
    for row, (loss, accuracy) in zip(found.per_class, BASELINE.values(), strict=True):
        assert row.log_loss == pytest.approx(loss, abs=1e-9)
        assert row.accuracy * 100 == pytest.approx(accuracy, abs=1e-9)


def test_the_published_device_rows_give_the_published_seen_and_unseen_means() -> None:
    """Every clip has the log loss of its device; s4 to s6 are unseen."""
    published = tau2020()
    names = list(published.baseline_devices)
    devices = [name for name in names for _ in range(10)]
    losses = torch.tensor([published.baseline_devices[name] for name in devices], dtype=torch.float64)
    targets = torch.arange(10).repeat(len(names))
    probabilities = ((1 - torch.exp(-losses)) / 9)[:, None].repeat(1, 10)
    probabilities[torch.arange(len(targets)), targets] = torch.exp(-losses)
    found = evaluation(
        probabilities.log(),
        targets,
        labels=tuple(BASELINE),
        devices=devices,
        split="test",
        trained_devices=names[:6],
    )
    assert {row.name: round(row.log_loss, 3) for row in found.per_device} == published.baseline_devices
    assert {row.name: round(row.log_loss, 3) for row in found.per_exposure} == published.baseline_exposure
    assert [(row.name, row.clips) for row in found.per_exposure] == [("seen", 60), ("unseen", 30)]
    assert round(found.log_loss, 3) == 1.473


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_seen_and_unseen_devices_equal_scikit_learn(seed: int) -> None:
    logits, targets, devices = drawn(seed)
    found = evaluation(logits, targets, labels=LABELS, devices=devices, split="test", trained_devices={"a", "b"})
    for row, mask in zip(found.per_exposure, [np.isin(devices, ["a", "b"]), np.array(devices) == "s1"], strict=True):
        own, scores = targets.numpy()[mask], torch.softmax(logits.double(), dim=1).numpy()[mask]
        weights = 1.0 / np.bincount(own, minlength=10)[own]
        assert row.log_loss == pytest.approx(log_loss(own, scores, labels=np.arange(10), sample_weight=weights))
        assert row.accuracy == pytest.approx(accuracy_score(own, scores.argmax(1), sample_weight=weights))
        assert row.calibration_error == pytest.approx(guos_error(scores, own), rel=1e-9)


@pytest.mark.parametrize("trained", [(), ("a", "b", "s1"), ("c",)])
def test_without_both_seen_and_unseen_devices_there_are_no_exposure_rows(trained: tuple[str, ...]) -> None:
    logits, targets, devices = drawn(0)
    found = evaluation(logits, targets, labels=LABELS, devices=devices, split="valid", trained_devices=trained)
    assert found.per_exposure == ()


def guos_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Calibration error by equation 3 of Guo et al. 2017, from scikit-learn's reliability curve.

    Takes probabilities (clips, classes) and targets (clips,).
    """
    confidences, hits = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    accuracy, confidence = calibration_curve(hits, confidences, n_bins=15, strategy="uniform")
    counts, _ = np.histogram(confidences, bins=np.linspace(0, 1, 16))
    return float((counts[counts > 0] / len(targets) * np.abs(accuracy - confidence)).sum())


@pytest.mark.parametrize("seed", range(5))
def test_the_calibration_error_and_its_bins_equal_scikit_learn(seed: int) -> None:
    logits, targets, _ = drawn(seed)
    probabilities = torch.softmax(logits.double(), dim=1).numpy()
    assert calibration_error(logits, targets) == pytest.approx(guos_error(probabilities, targets.numpy()), rel=1e-9)
    rows = reliability(logits, targets)
    assert len(rows) == BINS == 15 and sum(row.clips for row in rows) == len(targets)
    hits = probabilities.argmax(axis=1) == targets.numpy()
    accuracy, confidence = calibration_curve(hits, probabilities.max(axis=1), n_bins=15, strategy="uniform")
    filled = [row for row in rows if row.clips]
    assert [row.accuracy for row in filled] == pytest.approx(accuracy.tolist())
    assert [row.confidence for row in filled] == pytest.approx(confidence.tolist())
    assert all(row.accuracy is None and row.confidence is None for row in rows if not row.clips)


def test_a_calibration_error_worked_out_by_hand() -> None:
    """Three of 4 clips at 0.9 are right, and 3 of 6 at 0.6: (4 x 0.15 + 6 x 0.1) / 10 = 0.12."""
    confidences = torch.tensor([0.9] * 4 + [0.6] * 6, dtype=torch.float64)
    logits = torch.stack([confidences, 1 - confidences], dim=1).log()
    targets = torch.tensor([0, 0, 0, 1] + [0, 0, 0, 1, 1, 1])
    assert calibration_error(logits, targets) == pytest.approx(0.12)


def test_a_confident_network_has_calibration_error_0_if_right_and_1_if_wrong() -> None:
    logits = torch.tensor([[1000.0, -1000.0], [1000.0, -1000.0]])
    assert calibration_error(logits, torch.tensor([0, 0])) == 0.0
    assert calibration_error(logits, torch.tensor([1, 1])) == 1.0
    assert reliability(logits, torch.tensor([0, 1]))[-1].clips == 2, "a probability of 1 is in the last bin"


@pytest.mark.parametrize("seed", range(3))
def test_the_confusion_matrix_equals_scikit_learn(seed: int) -> None:
    logits, targets, _ = drawn(seed)
    expected = confusion_matrix(targets.numpy(), logits.argmax(dim=1).numpy(), labels=np.arange(10))
    assert np.array_equal(confusion(logits, targets), expected)
