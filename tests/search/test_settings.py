"""Settings must be consistent, and the cluster that they name must answer."""

import dataclasses
import socket

import pytest

from asc.errors import InputError
from asc.search import options
from asc.search.options import SearchOptions
from asc.search.settings import SearchSettings


@pytest.mark.parametrize("key", ["budget_kb", "trials", "max_concurrent"])
def test_settings_check_their_ranges(key: str) -> None:
    values = {"budget_kb": 128.0, "trials": 3, "max_concurrent": 1, key: 0}
    with pytest.raises(InputError, match=f"--{key.replace('_', '-')}"):
        SearchSettings(
            rule="dcase2021",
            recipe="qat_8b",
            data="synthetic",
            fold=1,
            data_seed=0,
            seed=0,
            cpus_per_trial=1,
            **values,  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"workers_per_trial": 0}, "--workers-per-trial must be a number above 0, got 0"),
        ({"workers_per_trial": 2}, "--cpus-per-trial 1 cannot be divided among --workers-per-trial 2"),
        ({"workers_per_trial": 2, "cpus_per_trial": 5}, "--cpus-per-trial 5 cannot be divided"),
        ({"workers_per_trial": 2, "cpus_per_trial": 4, "gpus_per_trial": 1.0}, "--gpus-per-trial 1 is neither 0 nor"),
        ({"workers_per_trial": 2, "cpus_per_trial": 4, "gpus_per_trial": 4.0}, "give 2, or leave it out"),
    ],
)
def test_processors_that_cannot_be_divided_among_workers_are_refused(
    settings: SearchSettings, changes: dict[str, float], part: str
) -> None:
    with pytest.raises(InputError) as caught:
        dataclasses.replace(settings, **changes)  # type: ignore[arg-type]
    assert part in str(caught.value)


def test_workers_divide_the_processors_of_a_trial(settings: SearchSettings) -> None:
    dataclasses.replace(settings, workers_per_trial=2, cpus_per_trial=4, gpus_per_trial=2.0)
    dataclasses.replace(settings, gpus_per_trial=0.5)


@pytest.mark.parametrize("cores", [1, 2, 3, 6, 16])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_cores_of_the_machine_are_divided_among_trials_and_workers(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int
) -> None:
    monkeypatch.setattr(options.os, "sched_getaffinity", lambda _: set(range(cores)))
    found = SearchOptions(workers_per_trial=workers).settings()
    assert found.cpus_per_trial % workers == 0
    if cores >= workers:
        assert found.max_concurrent * found.cpus_per_trial <= cores
    plain = SearchOptions().settings()
    assert (plain.max_concurrent, plain.cpus_per_trial) == (min(cores, 4), max(1, cores // min(cores, 4)))


def test_an_address_that_does_not_answer_is_refused_at_once(settings: SearchSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        dataclasses.replace(settings, address=address).check_address()
    with pytest.raises(InputError, match=f"--address {address}: no Ray cluster answers there"):
        dataclasses.replace(settings, address=address).check_address()
    for ours in (None, "local", "auto"):
        dataclasses.replace(settings, address=ours).check_address()
