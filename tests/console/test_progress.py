"""Progress in a terminal and without one."""

import dataclasses
import io
import re

import pytest
from rich.console import Console

from asc.config.experiment import Compression, Experiment, Schedule
from asc.console.progress import EpochLines, clock, packing, transfers
from asc.training_results import EpochMetrics


def console(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=200, force_terminal=terminal, soft_wrap=True), text


def metrics(epoch: int) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch, learning_rate=1e-3, train_loss=1.5, valid_log_loss=0.8204, valid_accuracy=0.7119, seconds=2.0
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200.0, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (3900.0, "1 h 05 min"),
        (100_000.0, "27 h 46 min"),
    ],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_packing_prints_start_and_end_without_a_terminal() -> None:
    plain, text = console()
    with packing(plain) as progress:
        for done in range(1, 5):
            progress(done, 4)
    assert text.getvalue() == "packing audio: 1 of 4 clips\npacking audio: 4 of 4 clips\n"


def test_packing_draws_a_bar_in_a_terminal() -> None:
    terminal, text = console(terminal=True)
    with packing(terminal) as progress:
        progress(4, 4)
    assert "packing audio" in text.getvalue() and "4/4" in text.getvalue() and "of 4 clips" not in text.getvalue()


def test_transfers_print_each_quarter_without_a_terminal() -> None:
    plain, text = console()
    with transfers(plain) as progress:
        for what in ("fetching a.zip", "unpacking a.zip"):
            for done in range(0, 4001, 100):
                progress(what, done, 4000)
    lines = text.getvalue().splitlines()
    assert lines[:2] == ["fetching a.zip: 0 of 4,000 bytes", "fetching a.zip: 1,000 of 4,000 bytes"]
    assert len(lines) == 10 and lines[-1] == "unpacking a.zip: 4,000 of 4,000 bytes"


def test_transfers_draw_a_bar_in_a_terminal() -> None:
    terminal, text = console(terminal=True)
    with transfers(terminal) as progress:
        progress("fetching a.zip", 2_000_000, 4_000_000)
    assert "fetching a.zip" in text.getvalue() and "2.0/4.0 MB" in text.getvalue()


def test_each_epoch_prints_a_line() -> None:
    plain, text = console()
    lines = EpochLines(plain, Experiment(schedule=Schedule(cycles=1, epochs_per_cycle=3)))
    for epoch in (1, 2, 3):
        lines(metrics(epoch))
    first, _, last = text.getvalue().splitlines()
    assert first.startswith("[1/3] lr 1.00e-03, train loss 1.500, validation log loss 0.820, accuracy 71.2%, 2.0 s, ")
    assert re.search(r"about .+ left$", first)
    assert last.startswith("[3/3]") and last.endswith("about 0 s left")


def test_in_a_terminal_a_line_shows_the_progress_of_the_training() -> None:
    terminal, text = console(terminal=True)
    with EpochLines(terminal, Experiment(schedule=Schedule(cycles=2, epochs_per_cycle=2))) as lines:
        for epoch in (1, 2, 3):
            lines(metrics(epoch))
    assert "first epoch: 0 s" in text.getvalue()
    assert "cycle 2 of 2, epoch 4 of 4 \u00b7 best epoch 3: log loss 0.820 \u00b7 about" in text.getvalue()
    growing = Experiment(schedule=Schedule(cycles=3, epochs_per_cycle=1, cycle_growth=2))
    with EpochLines(terminal, growing) as lines:
        for epoch in (1, 2):
            lines(metrics(epoch))
    assert "cycle 2 of 3, epoch 3 of 7" in text.getvalue()


@pytest.mark.parametrize(("prune_ratio", "held_out", "best"), [(0.0, True, 1), (0.5, True, 4), (0.0, False, None)])
def test_the_best_epoch_is_one_that_can_be_saved(prune_ratio: float, held_out: bool, best: int | None) -> None:
    """Epochs before pruning (here, 1 and 2) do not count; a final model takes the last epoch, which is yet to come."""
    losses = {1: 0.5, 2: 0.9, 3: 0.8, 4: 0.7}
    experiment = Experiment(
        schedule=Schedule(cycles=3, epochs_per_cycle=2), compression=Compression(prune_ratio=prune_ratio)
    )
    history = [dataclasses.replace(metrics(epoch), valid_log_loss=loss) for epoch, loss in losses.items()]
    terminal, text = console(terminal=True)
    with EpochLines(terminal, experiment, history=history, held_out=held_out) as lines:
        lines(dataclasses.replace(metrics(5), valid_log_loss=1.0))
    shown = re.findall(r"best epoch (\d)", text.getvalue())
    assert set(shown) == ({str(best)} if best else set())


def test_the_time_left_is_estimated_from_epochs_of_this_process_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training resumed at epoch 9 of 12, which took 10 s, has three more epochs of 10 s left."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    plain, text = console()
    lines = EpochLines(plain, Experiment(schedule=Schedule(cycles=3, epochs_per_cycle=4)))
    now[0] = 110.0
    lines(metrics(9))
    assert text.getvalue().endswith("about 30 s left\n")
    now[0] = 114.0
    lines(metrics(10))
    assert text.getvalue().endswith("about 8 s left\n"), "the first epoch, which takes longer, no longer counts"
