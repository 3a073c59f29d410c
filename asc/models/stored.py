"""The stored form of a network in 8 or 16 bits: the form that is evaluated, ranked and shipped (design decision 2)."""

from asc.config.experiment import Experiment
from asc.models.float16 import HalfNet
from asc.models.integer import IntegerNet
from asc.topology.describe import topology_of

StoredNet = IntegerNet | HalfNet


def empty(experiment: Experiment) -> StoredNet:
    """A stored form without values: call `load_state_dict` next."""
    match experiment.compression.storage:
        case "int8":
            return IntegerNet(topology_of(experiment), experiment.front_end)
        case "float16":
            return HalfNet(topology_of(experiment), experiment.front_end)
