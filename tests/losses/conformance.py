"""What every loss is held to; the tests of the single losses call these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facelearn.losses import Loss

REFERENCE = Path(__file__).parent.parent / "reference"
CASES = ("random_s0", "near_centre", "cos_pm1", "opposite", "single_class", "theta_sweep")
#: cases in which angles near 0 or π are ill-conditioned: gradients agree to 1e-7 instead of 1e-9 of their maximum
ILL_CONDITIONED = {"near_centre", "theta_sweep"}


def value_and_gradients(
    loss: Loss, embeddings: Tensor, labels: Tensor, cast: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Loss and all gradients, by name, of one training call; `cast` runs the forward pass inside autocast."""
    x = embeddings.detach().clone().requires_grad_()
    loss.zero_grad()
    with torch.autocast("cpu", dtype=cast or torch.bfloat16, enabled=cast is not None):
        value = loss(x, labels)
    value.sum().backward()
    grads = {f"grad_{name}": p.grad for name, p in loss.named_parameters() if p.grad is not None}
    return {"loss": value.detach(), "grad_embeddings": x.grad, **grads}


def assert_matches_reference(make: Callable[[int, int], Loss], stem: str, case: str, convention: str) -> None:
    """Value and gradients equal the stored float64 values of that convention."""
    with np.load(REFERENCE / f"{stem}.npz", allow_pickle=False) as stored:
        ref = {
            k.removeprefix(f"{case}/"): torch.from_numpy(stored[k]) for k in stored.files if k.startswith(f"{case}/")
        }
    weights = ref["weights"]
    loss = make(weights.shape[1], weights.shape[0]).double()
    loss.load_state_dict(loss.state_dict() | {"weight": weights})
    got = value_and_gradients(loss, ref["embeddings"], ref["labels"])
    torch.testing.assert_close(got["loss"], ref[f"{convention}/loss"].reshape(()), rtol=1e-9, atol=1e-12)
    for ours, theirs in (("grad_embeddings", "grad_embeddings"), ("grad_weight", "grad_weights")):
        assert got[ours].isfinite().all(), f"{ours} is not finite"
        if case == "cos_pm1" and stem == "arcface":  # the true gradient is a convention there
            continue
        want = ref[f"{convention}/{theirs}"]
        tolerance = 1e-7 if case in ILL_CONDITIONED else 1e-9
        torch.testing.assert_close(got[ours], want, rtol=0, atol=tolerance * float(want.abs().max()) + 1e-15)


def batch(
    seed: int = 0, B: int = 12, d: int = 8, C: int = 6, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(B, d, generator=g, dtype=dtype), torch.randint(C, (B,), generator=g)


def hostile(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings that break careless code: cos = ±1 with the own and another class, zero, tiny, huge, duplicates."""
    W = weight.detach()
    y = torch.arange(16) % len(W)
    x = torch.randn(16, W.shape[1], generator=torch.Generator().manual_seed(1)).to(W)
    x[:4] = W[y[:4]] * 3  # cos = 1
    x[4:6] = -W[y[4:6]]  # cos = -1
    x[6] = W[(y[6] + 1) % len(W)]  # cos = 1 with another class
    x[7] = -W[(y[7] + 1) % len(W)]
    x[8] = 0
    x[9] = 1e-12 * x[10]
    x[10] = 1e6 * x[10]
    x[12] = x[11]
    return x, y
