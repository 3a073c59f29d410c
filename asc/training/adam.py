"""Adam (Kingma & Ba 2014, https://arxiv.org/abs/1412.6980), as torch has it, without torch's compiler.

The methods of torch's optimisers are wrapped so that its compiler leaves them alone. The wrappers import the compiler
(`torch._dynamo`, and sympy with it) at their first call, which takes each training process more than a second.
Nothing here is compiled, so the same methods are called without their wrappers.
"""

import inspect

import torch


class Adam(torch.optim.Adam):
    """torch's Adam: the same steps to the last bit, and the same state."""

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
