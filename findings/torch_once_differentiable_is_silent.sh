#!/usr/bin/env bash
# torch 2.13.0: once_differentiable lets a second derivative be wrong in silence when the upstream gradient is constant.
#
# Seen: a custom function whose backward pass carries the decorator, differentiated with create_graph=True. If the
# gradient that comes from above depends on the input, a second derivative is refused with an error, as meant. If it is
# constant, as below a sum or a mean (the usual end of a loss), the decorator looks at that gradient alone, finds
# nothing that needs one, and hands the result back as a constant: a gradient penalty then trains on what is left.
# Expected: the same refusal, or the true value. For x^3 at x = 2 the penalty (dy/dx)^2 / 2 has the derivative
# 3x^2 * 6x = 144; what arrives is 0.
# Why it matters: losses with a backward pass of their own are used with gradient penalties, influence functions and
# sharpness-aware steps; whoever relies on the decorator to refuse them must also test with a constant gradient.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'END'
import torch
from torch.autograd.function import once_differentiable


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        return upstream * 3 * x**2


def of_penalty(cube, end):
    """The derivative of x + (dL/dx)^2 / 2 at x = 2, less the 1 of its first term."""
    x = torch.tensor([2.0], requires_grad=True)
    (slope,) = torch.autograd.grad(end(cube(x)), x, create_graph=True)
    (x.sum() + slope.square().sum() / 2).backward()
    return x.grad.item() - 1


print("torch", torch.__version__)
true = of_penalty(lambda x: x**3, torch.sum)
silent = of_penalty(Cube.apply, torch.sum)
print(f"below a sum: {silent:g}, by torch's own power {true:g}")
try:
    of_penalty(Cube.apply, lambda y: y.square().sum())
except RuntimeError as error:
    refused = str(error)
    print("below a square: refused:", refused.splitlines()[0])
else:
    refused = ""
    print("below a square: not refused")
assert true == 144 and silent == 0 and "once_differentiable" in refused, "the behaviour has changed"
END
