"""What every loss is held to; the tests of the single losses call these."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import facelearn.losses as L
from facelearn.losses import Joint, Loss
from facelearn.losses.margin import BEYOND_PI

REFERENCE = Path(__file__).parent.parent / "reference"
CASES = ("random_s0", "near_centre", "cos_pm1", "opposite", "single_class", "theta_sweep")
#: cases in which angles near 0 or π are ill-conditioned: gradients agree to 1e-7 instead of 1e-9 of their maximum
ILL_CONDITIONED = {"near_centre", "theta_sweep"}

# --- the losses, by what they promise --------------------------------------------------------------------------------

#: only angles count: lengths of embeddings and of class weights do not matter
ANGULAR: dict[str, Callable[..., Loss]] = {
    "normface": L.NormFace,
    "cosface": L.CosFace,
    **{f"arcface-{rule}": lambda d, C, rule=rule, **k: L.ArcFace(d, C, beyond_pi=rule, **k) for rule in BEYOND_PI},
    "arcface-detached": lambda d, C, **k: L.ArcFace(d, C, detach_margin=True, **k),
    "sphereface-r": lambda d, C, **k: L.SphereFace(d, C, margin=1.7, scale=30.0, **k),
    "combined": L.CombinedMargin,
    "combined-0.9": lambda d, C, **k: L.CombinedMargin(d, C, m1=0.9, m2=0.4, m3=0.15, beyond_pi="linear", **k),
    "subcenter": L.SubCenterArcFace,
    "mv-arc": L.MVSoftmax,
    "mv-am-fixed": lambda d, C, **k: L.MVSoftmax(d, C, kind="am", mode="fixed", **k),
    "curricularface": L.CurricularFace,
    "circleface": L.CircleFace,
    "discface": lambda d, C, **k: L.DiscFace(L.CosFace(d, C), **k),
    "npcface": L.NPCFace,
    "elasticface-arc": lambda d, C, **k: L.ElasticFace(d, C, plus=True, **k),
    "elasticface-cos": lambda d, C, **k: L.ElasticFace(d, C, kind="cos", plus=True, **k),
}
CLASSIFYING: dict[str, Callable[..., Loss]] = {
    "softmax": L.Softmax,
    "l2-softmax": L.L2Softmax,
    "lgm": L.LGM,
    "lgm-identity": lambda d, C, **k: L.LGM(d, C, covariance="identity", **k),
    "sphereface": L.SphereFace,
    "magface": L.MagFace,
    "adaface": L.AdaFace,
    **ANGULAR,
}
#: on the batch alone, no classes
PAIR: dict[str, Callable[..., Loss]] = {
    "contrastive": L.Contrastive,
    "contrastive-unit": lambda **k: L.Contrastive(normalize=True, **k),
    "supcon": L.SupCon,
    "triplet-all": L.Triplet,
    "triplet-semi-hard": lambda **k: L.Triplet(mining="semi-hard", **k),
    "triplet-batch-hard": lambda **k: L.Triplet(mining="batch-hard", **k),
    "triplet-all-soft": lambda **k: L.Triplet(soft=True, **k),
    "triplet-semi-hard-soft": lambda **k: L.Triplet(mining="semi-hard", soft=True, **k),
    "triplet-batch-hard-soft": lambda **k: L.Triplet(mining="batch-hard", soft=True, **k),
    "triplet-raw": lambda **k: L.Triplet(normalize=False, **k),
    "circle": L.Circle,
}


def centres(loss: Loss) -> Tensor:
    """One row per class that embeddings of the class should come close to."""
    named = {name.split(".")[-1]: p.detach() for name, p in loss.named_parameters()}
    rows = named.get("weight", named.get("means"))
    return rows[:: getattr(loss, "num_subcenters", 1)]


# --- calls -----------------------------------------------------------------------------------------------------------


def once(loss: Loss, embeddings: Tensor, labels: Tensor) -> Tensor:
    """The loss as a pure function: same draws each time, state left as it was."""
    torch.manual_seed(0)
    return copy.deepcopy(loss)(embeddings, labels)


def value_and_gradients(
    loss: Loss | Joint, embeddings: Tensor, labels: Tensor, cast: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Loss and all gradients, by name, of one training call; `cast` runs the forward pass inside autocast."""
    x = embeddings.detach().clone().requires_grad_()
    loss.zero_grad()
    with torch.autocast("cpu", dtype=cast or torch.bfloat16, enabled=cast is not None):
        value = loss(x, labels)
    value.sum().backward()
    grads = {f"grad_{name}": p.grad for name, p in loss.named_parameters() if p.grad is not None}
    return {"loss": value.detach(), "grad_embeddings": x.grad, **grads}


def assert_finite(got: dict[str, Tensor]) -> None:
    assert all(v.isfinite().all() for v in got.values()), {k: bool(v.isfinite().all()) for k, v in got.items()}
    assert got["loss"].dtype == torch.float32


def assert_same(got: Loss, want: Loss, x: Tensor, y: Tensor, names: Sequence[str] = ("weight",)) -> None:
    """Two losses are one function: value, gradient to the embeddings, gradient to the parameters they share."""
    got.load_state_dict(got.state_dict() | {k: v for k, v in want.state_dict().items() if k in names})
    ours, theirs = value_and_gradients(got, x, y), value_and_gradients(want, x, y)
    for name in ("loss", "grad_embeddings", *(f"grad_{n}" for n in names)):
        scale = float(theirs[name].abs().max())
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-12, atol=1e-13 * max(scale, 1.0), msg=name)


# --- stored values ---------------------------------------------------------------------------------------------------


def reference(stem: str, case: str) -> dict[str, Tensor]:
    """Inputs and values of one case. Inputs that many losses share lie in `cases.npz`."""
    found = {}
    for name in ("cases", stem):
        with np.load(REFERENCE / f"{name}.npz", allow_pickle=False) as stored:
            keys = [key for key in stored.files if key.startswith(f"{case}/")]
            found |= {key.removeprefix(f"{case}/"): torch.from_numpy(stored[key]) for key in keys}
    return found


def put(loss: Loss | Joint, **values: Tensor | float) -> None:
    """Set parameters and buffers by the last part of their name."""
    state = {n.split(".")[-1]: t for n, t in chain(loss.named_parameters(), loss.named_buffers())}
    with torch.no_grad():
        for name, value in values.items():
            state[name].copy_(torch.as_tensor(value, dtype=torch.float64).reshape(state[name].shape))


def assert_matches_reference(
    make: Callable[[int, int], Loss | Joint],
    stem: str,
    case: str,
    convention: str,
    inputs: Sequence[str] = ("weight",),
    prefix: str = "",
) -> Loss | Joint:
    """Value and gradients equal the stored float64 values of that convention.

    `inputs` names the stored parameters; make(d, C) gets the number of rows of the first. Where no gradient is stored
    (cos θ = ±1, where an angle has none) it has to be finite.
    """
    ref = reference(stem, case)
    values = {name: ref[name] if name in ref else ref[prefix + name] for name in inputs}
    loss = make(ref["embeddings"].shape[1], len(values[inputs[0]]) if inputs else 0).double()
    put(loss, **values)
    got = {
        n.split(".")[-1].removeprefix("grad_"): v
        for n, v in value_and_gradients(loss, ref["embeddings"], ref["labels"]).items()
    }
    torch.testing.assert_close(got.pop("loss"), ref[f"{convention}/loss"].reshape(()), rtol=1e-9, atol=1e-12)
    tolerance = 1e-7 if case in ILL_CONDITIONED else 1e-9
    for name, gradient in got.items():
        assert gradient.isfinite().all(), f"gradient of {name} is not finite"
        want = ref.get(f"{convention}/grad_{name}")
        if want is not None:
            want = want.reshape(gradient.shape)
            atol = tolerance * float(want.abs().max()) + 1e-15
            torch.testing.assert_close(gradient, want, rtol=0, atol=atol, msg=lambda text, n=name: f"{n}: {text}")
    return loss


def stored_value(stem: str, case: str, convention: str) -> float:
    return float(reference(stem, case)[f"{convention}/loss"])


# --- batches ---------------------------------------------------------------------------------------------------------


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


def cosines(loss: Loss, x: Tensor) -> np.ndarray:
    """cos θ_j of every embedding with every class row, by NumPy.  (B, C·K)"""
    W = loss.weight.detach().numpy()
    return (x.numpy() / np.linalg.norm(x, axis=1, keepdims=True)) @ (W / np.linalg.norm(W, axis=1, keepdims=True)).T


def mean_surprise(logits: Sequence[Sequence[float]], y: Tensor) -> float:
    """Mean of -log softmax(z)_y, by the definition."""
    each = [math.log(sum(math.exp(z - row[yi]) for z in row)) for row, yi in zip(logits, y.tolist(), strict=True)]
    return sum(each) / len(each)
