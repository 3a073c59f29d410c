"""The estimate of a search's time, from one real training step."""

import dataclasses

import torch

from asc.config.space import load_space
from asc.search.duration import estimate, minutes
from asc.search.preview import plan_search
from asc.search.settings import SearchSettings


def test_the_range_is_from_half_of_the_epochs_to_all_and_the_threads_stay(settings: SearchSettings) -> None:
    planned, threads = plan_search(settings, load_space("quick")), torch.get_num_threads()
    shortest, longest = minutes(planned)
    assert 0 < shortest and longest == 2 * shortest
    assert torch.get_num_threads() == threads


def test_the_text_names_trials_and_minutes(settings: SearchSettings) -> None:
    planned = plan_search(dataclasses.replace(settings, trials=7, max_concurrent=2), load_space("quick"))
    assert estimate(planned, (3.4, 6.8)).startswith("7 trials, 2 at a time: about 3 to 7 minutes here")
