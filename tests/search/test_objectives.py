"""What a search may have as objectives, and what a network costs in them."""

import pytest
from formula_workers import settings

from asc.errors import InputError
from asc.results import StoredSize
from asc.runs.events import TrialAsked
from asc.search.objectives import costs_of, objectives_from
from asc.size.rules import rule


def test_the_log_loss_comes_first() -> None:
    assert objectives_from("bytes, log_loss,macs") == ("log_loss", "bytes", "macs")
    assert settings(8).aims == ("log_loss",)
    assert settings(8, objectives="ram,log_loss").aims == ("log_loss", "ram")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("log_loss,size", "--objectives has size: give some of log_loss, bytes, macs, ram"),
        ("bytes,macs", "--objectives bytes,macs lacks log_loss, without which the smallest network wins: add it"),
        ("log_loss", "--objectives log_loss is what a search does in any case: add some of bytes, macs, ram"),
        ("log_loss,bytes,bytes", "--objectives has bytes twice: leave one of them out"),
        (" , ", "--objectives names nothing: give log_loss and some of bytes, macs, ram, or leave it out"),
        ("", "--objectives names nothing"),
    ],
)
def test_wrong_objectives_are_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        settings(8, objectives=text)


def test_a_front_has_one_budget() -> None:
    with pytest.raises(InputError, match="--objectives finds networks of every size up to one budget"):
        settings(8, objectives="log_loss,bytes", budgets_kb="64,128")


def test_a_network_costs_what_the_rule_counts() -> None:
    size = StoredSize(parameters=100, size_bytes=2000, nonzero_parameters=60, nonzero_bytes=1200, file_bytes=3000)
    asked = TrialAsked(
        trial="t001",
        title="",
        point=None,
        config={},
        repaired=False,
        parameters=size.parameters,
        size_bytes=size.size_bytes,
        nonzero_parameters=size.nonzero_parameters,
        nonzero_bytes=size.nonzero_bytes,
        file_bytes=size.file_bytes,
        macs_per_second=5_000_000,
        peak_activation_bytes=64_000,
    )
    assert costs_of(asked, ("log_loss",), rule("dcase2021")) == ()
    assert costs_of(asked, ("log_loss", "bytes", "ram", "macs"), rule("dcase2021")) == (1200.0, 64_000.0, 5e6)
    assert costs_of(asked, ("log_loss", "bytes"), rule("file")) == (3000.0,)
