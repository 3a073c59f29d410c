"""Adam (Kingma & Ba 2014, https://arxiv.org/abs/1412.6980), as torch has it in one call, without torch's compiler.

`fused` takes all weights in one call. torch's default takes a dozen calls for each weight: a tenth of a small network's
step. The two differ by rounding.

The methods of torch's optimisers are wrapped so that its compiler leaves them alone. The wrappers import the compiler
(`torch._dynamo`, and sympy with it) at their first call, which takes each training process more than a second.
Nothing here is compiled, so the same methods are called without their wrappers.
"""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version


class Adam(torch.optim.Adam):
    """torch's fused Adam: the same steps to the last bit, and the same state.

    torch's fused loop (2.13, CPU) takes weights, gradients and moments in the order of memory, whatever their layouts
    say. So they are laid out alike here. It does not count its writes either, which `asc.models.remembered` relies on.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        """Begin without moments; the defaults are torch's."""
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, fused=True)

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    _load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    _step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take another optimiser's state, whose moments may lie in any order."""
        self._load_state_dict(state_dict)
        for weight, state in self.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = _laid_out_like(weight, state[name])

    def step(self) -> None:  # type: ignore[override]  # no closure
        """Take a step; autograd lays gradients out like their weights, but others may not."""
        weights = [weight for group in self.param_groups for weight in group["params"] if weight.grad is not None]
        for weight in weights:
            if weight.grad.stride() != weight.stride():
                weight.grad = _laid_out_like(weight, weight.grad)
        self._step()
        increment_version(weights)


def _laid_out_like(weight: Tensor, tensor: Tensor) -> Tensor:
    """A tensor of the shape of a weight, in the weight's order in memory."""
    return torch.empty_like(weight, requires_grad=False).copy_(tensor)
