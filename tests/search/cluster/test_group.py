import pickle
import socket

import pytest

from asc.search.cluster.group import Verdict, interface_of, slots
from asc.search.cluster.trial import Message
from asc.training_results import EpochMetrics


def test_the_interface_that_has_an_address() -> None:
    assert interface_of("127.0.0.1") in {name for _, name in socket.if_nameindex()}
    with pytest.raises(OSError, match=r"192\.0\.2\.1"):
        interface_of("192.0.2.1")  # an address of documentation (RFC 5737), which no machine has


def test_each_worker_holds_its_threads_and_one_gpu() -> None:
    assert slots(3, on_gpu=False) == {"CPU": 3}
    assert slots(3, on_gpu=True) == {"CPU": 3, "GPU": 1}


def test_a_verdict_survives_the_way_from_worker_to_trial() -> None:
    metrics = EpochMetrics(
        epoch=1, learning_rate=1.0, train_loss=1.0, valid_log_loss=1.0, valid_accuracy=1.0, seconds=1.0
    )
    message = Message(halt="the disk is full", epoch=metrics)
    assert pickle.loads(pickle.dumps(Verdict(message))).message == message
