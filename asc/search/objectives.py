"""The objectives of a search for a Pareto front (`--objectives`): log loss, and what a network costs.

All are to be low. Costs are known before a network is trained, so early stopping and the sampler have them for every
trial; only the log loss has to wait.
"""

from asc.errors import InputError, require, some
from asc.runs.events import TrialAsked
from asc.size.rules import Rule, counted_bytes

LOG_LOSS = "log_loss"
COSTS = ("bytes", "macs", "ram")


def objectives_from(text: str) -> tuple[str, ...]:
    """The names in a text such as "log_loss,bytes,macs", the log loss first.

    Raises:
        InputError: one is unknown or stands twice, the log loss is missing, or there is nothing beside it.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    require(bool(names), f"--objectives names nothing: give {LOG_LOSS} and some of {', '.join(COSTS)}, or leave it out")
    for name in names:
        if name not in (LOG_LOSS, *COSTS):
            raise InputError(f"--objectives has {name}: give some of {', '.join((LOG_LOSS, *COSTS))}")
    twice = [name for name in names if names.count(name) > 1]
    require(not twice, f"--objectives has {some(sorted(set(twice)))} twice: leave one of them out")
    require(LOG_LOSS in names, f"--objectives {text} lacks {LOG_LOSS}, without which the smallest network wins: add it")
    require(
        len(names) > 1,
        f"--objectives {text} is what a search does in any case: add some of {', '.join(COSTS)}, or leave it out",
    )
    return (LOG_LOSS, *(name for name in names if name != LOG_LOSS))


def costs_of(asked: TrialAsked, objectives: tuple[str, ...], rule: Rule) -> tuple[float, ...]:
    """What the network of a trial costs, in the order of the objectives after the log loss.

    Bytes are those that the rule counts, MACs are per second of audio, and `ram` is the peak of the activations for
    10 s of audio, in bytes.
    """
    costs = {
        "bytes": float(counted_bytes(rule, asked.predicted)),
        "macs": float(asked.macs_per_second),
        "ram": float(asked.peak_activation_bytes),
    }
    return tuple(costs[name] for name in objectives if name != LOG_LOSS)
