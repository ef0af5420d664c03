"""Which derivatives a loss has, and how it comes by them.

`tiles.py` and `blocks.py` compute a value and, in a backward pass of their own, its gradient. Where more is asked for,
the plain formula on the whole matrix takes their place, which autograd can differentiate in any way:

    loss.backward(), torch.autograd.grad          tiles and blocks
    ... with create_graph=True                    the backward pass is that of the plain formula, with a graph
    torch.func (grad, jvp, hessian, vmap),        the plain formula from the start; values are not looked at, and a
    forward-mode derivatives                      running state is back where it was after the call

That needs the memory of the whole matrix, (B, C) or (B, B). Two kinds of losses have first derivatives only, and raise
a RuntimeError where others are needed: those over a process group, and those of which a part that depends on the
embeddings is a constant to the gradient (`Loss.holds_constants`). The latter have a gradient that is not the derivative
of any function, and what autograd makes of it is not its slope.

At an embedding of length 0 a cosine has no derivative; the first is the finite one of `unit`, the second is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

CONSTANTS = "with constants in its gradient"


def functional() -> bool:
    """Is this call inside a transform of `torch.func`?"""
    return torch._C._are_functorch_transforms_active()


def transformed(*tensors: Tensor) -> bool:
    """Is a derivative wanted that a backward pass alone cannot give: by `torch.func`, or in forward mode?"""
    return functional() or any(unpack_dual(tensor).tangent is not None for tensor in tensors)


@contextmanager
def state_kept(loss: nn.Module) -> Iterator[None]:
    """Put the buffers back afterwards: under `torch.func` they would hold tensors that are not valid outside."""
    before = [(module, dict(module._buffers)) for module in loss.modules()]
    try:
        yield
    finally:
        for module, buffers in before:
            module._buffers.update(buffers)


def refuse_second_order(why: str = "over a process group") -> None:
    """For a backward pass that has no derivative of its own.

    Torch's `once_differentiable` refuses only where the upstream gradient itself requires one. That of a mean is a
    constant, and a wrong second derivative would follow.
    """
    if torch.is_grad_enabled():  # in a backward pass, under create_graph=True alone
        raise RuntimeError(f"create_graph=True: expected False, a loss {why} has no second derivative")


def first_order(loss: Tensor) -> Tensor:
    """`loss`, which now refuses any but first derivatives."""
    if functional():
        from torch._C._functorch import TransformType, get_interpreter_stack

        transforms = get_interpreter_stack() or []
        if sum(transform.key() != TransformType.Vmap for transform in transforms) > 1:
            raise RuntimeError(f"torch.func: expected one derivative, a loss {CONSTANTS} has no second one")
    elif loss.requires_grad:
        loss.register_hook(lambda _: refuse_second_order(CONSTANTS))
    return loss


def with_graph(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], upstream: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` to `inputs`, to be differentiated again; `None` where an input requires none."""
    pairs = [(y, g) for y, g in zip(outputs, upstream, strict=True) if y.requires_grad]
    wanted = [x for x in inputs if x.requires_grad]
    found = torch.autograd.grad(
        [y for y, _ in pairs], wanted, [g for _, g in pairs], create_graph=True, allow_unused=True
    )
    gradients = iter(found)
    return tuple(next(gradients) if x.requires_grad else None for x in inputs)
