"""What a synthetic face is made of: identity traits, which stay, and nuisance, which changes from shot to shot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from facelearn.data import counter

SPLITS = {"fit": 0, "tune": 1, "open": 2}
_TRAIT, _SHOT = 1, 2  # first part of every key: identities and shots never share a draw

# Each trait is uniform in its range. Lengths are in half images before the crop; the head is about 1.05 wide and
# 1.46 high. A range that reaches below 0 is cut at 0 when drawn (beard, bald, ...): the share above 0 has it.
TRAITS: dict[str, tuple[float, float]] = {
    "face_w": (0.46, 0.60),
    "face_h": (0.66, 0.80),
    "jaw": (0.02, 0.29),
    "chin": (-0.45, 0.85),
    "cheekbone": (-0.04, 0.07),
    "melanin": (0.0, 1.0),
    "undertone": (-1.0, 1.0),
    "eye_dx": (0.19, 0.285),
    "eye_y": (-0.12, 0.02),
    "eye_w": (0.085, 0.13),
    "eye_h": (0.030, 0.066),
    "eye_tilt": (-0.26, 0.30),
    "eye_crease": (0.0, 1.0),
    "lashes": (0.0, 1.0),
    "iris_hue": (0.0, 1.0),
    "iris_r": (0.034, 0.050),
    "brow_dy": (0.085, 0.16),
    "brow_t": (0.012, 0.042),
    "brow_tilt": (-0.30, 0.30),
    "brow_arch": (0.0, 2.2),
    "brow_w": (0.10, 0.165),
    "nose_len": (0.20, 0.34),
    "nose_w": (0.055, 0.125),
    "nose_bridge": (0.020, 0.055),
    "nose_h": (0.5, 1.6),
    "mouth_dy": (0.10, 0.19),
    "mouth_w": (0.115, 0.225),
    "lip_up": (0.012, 0.046),
    "lip_lo": (0.018, 0.060),
    "lip_red": (0.0, 1.0),
    "mouth_curve": (-0.6, 1.2),
    "hair_lum": (0.0, 1.0),
    "hair_red": (0.0, 1.0),
    "hairline": (-0.84, -0.40),
    "hair_curve": (-0.9, 1.5),
    "hair_part": (-0.35, 0.35),
    "hair_vol": (0.02, 0.18),
    "hair_len": (-0.35, 1.0),
    "curl": (-1.2, 1.0),
    "bald": (-4.0, 1.0),
    "sideburn": (-0.25, 0.40),
    "ear": (0.05, 0.115),
    "beard": (-2.2, 1.0),
    "goatee": (0.0, 1.0),
    "moustache": (-2.2, 1.0),
    "age": (0.0, 1.0),
    "fold": (0.0, 1.0),
    "mole_x": (-0.34, 0.34),
    "mole_y": (-0.30, 0.52),
    "mole": (-2.0, 1.0),
    "freckles": (-1.5, 1.0),
    "blush": (0.0, 1.0),
}


@dataclass(frozen=True)
class Law:
    """How one nuisance is drawn at strength s (u uniform in (0, 1), n standard normal clipped at 2.2).

    ======== =====================================================================
    normal   ``base + s*size*n``
    spread   ``base + s*size*u``
    excess   ``max(0, s*size*n - base)``: often exactly 0
    dip      ``base - s*size*|n|``
    chance   1 with probability ``min(1, s*size)``, else 0
    style    ``base + size*u`` whatever s: how a thing looks, if it is there
    ======== =====================================================================

    then clipped to ``[low, high]``.
    """

    group: str
    kind: str
    size: float
    base: float = 0.0
    low: float = -math.inf
    high: float = math.inf


_DEGREE = math.pi / 180
NUISANCE: dict[str, Law] = {
    # radians; yaw > 0 turns the face towards +x (the viewer's right), pitch > 0 looks down
    "yaw": Law("pose", "normal", 22 * _DEGREE, low=-1.05, high=1.05),
    "pitch": Law("pose", "normal", 11 * _DEGREE, low=-0.6, high=0.6),
    "roll": Law("pose", "normal", 8 * _DEGREE, low=-0.7, high=0.7),
    "shift_x": Law("framing", "normal", 0.05),
    "shift_y": Law("framing", "normal", 0.05),
    "zoom": Law("framing", "normal", 0.06, low=-0.7, high=0.7),  # natural log
    "light_x": Law("light", "normal", 0.54),  # the lamp stands at (light_x, light_y, 1)
    "light_y": Law("light", "normal", 0.32, base=-0.25),
    "ambient": Law("light", "spread", -0.38, base=0.80, low=0.2),
    "exposure": Law("exposure", "normal", 0.28, low=-1.5, high=1.5),  # natural log of the gain
    "gamma": Law("exposure", "normal", 0.22, low=-1.5, high=1.5),  # natural log; > 0 darkens the mid-tones
    "red": Law("colour", "normal", 0.10, low=-1.0, high=1.0),  # white balance: natural log of two gains
    "blue": Law("colour", "normal", 0.10, low=-1.0, high=1.0),
    "smile": Law("expression", "normal", 0.55, low=-1.5, high=1.5),
    "mouth_open": Law("expression", "excess", 0.9, base=0.6, high=1.6),
    "brow_raise": Law("expression", "normal", 0.02),
    "eye_open": Law("expression", "dip", 0.16, base=1.0, low=0.15),
    "gaze_x": Law("expression", "normal", 0.018),
    "gaze_y": Law("expression", "normal", 0.006),
    "hair_volume": Law("hair", "normal", 0.35, low=-1.0, high=1.0),  # hair is only partly identity
    "hair_parting": Law("hair", "normal", 0.35),
    "hair_length": Law("hair", "normal", 0.30),
    "glasses": Law("glasses", "chance", 0.15, low=0.0, high=1.0),
    "glasses_w": Law("glasses", "style", 0.05, base=0.12),
    "glasses_h": Law("glasses", "style", 0.06, base=0.08),
    "glasses_frame": Law("glasses", "style", 0.010, base=0.006),
    "glasses_dark": Law("glasses", "style", 4.0, base=-3.0, low=0.0),  # a quarter are sunglasses
    "mask": Law("occlusion", "chance", 0.5, low=0.0, high=1.0),
    "mask_colour": Law("occlusion", "style", 1.0),
    "mask_y": Law("occlusion", "style", 0.06, base=-0.03),
    "patch": Law("occlusion", "chance", 0.5, low=0.0, high=1.0),
    "patch_x": Law("occlusion", "style", 1.4, base=-0.7),
    "patch_y": Law("occlusion", "style", 1.4, base=-0.7),
    "patch_w": Law("occlusion", "style", 0.25, base=0.15),
    "patch_h": Law("occlusion", "style", 0.25, base=0.15),
    "patch_grey": Law("occlusion", "style", 1.0),
    "back_grey": Law("background", "normal", 0.20, base=0.50, low=0.08, high=0.92),
    "back_red": Law("background", "normal", 0.22, low=-0.6, high=0.6),
    "back_blue": Law("background", "normal", 0.22, low=-0.6, high=0.6),
    "back_ramp": Law("background", "normal", 0.12),
    "back_slope": Law("background", "normal", 0.15),
    "cloth_r": Law("background", "normal", 0.28, base=0.45, low=0.05, high=0.9),
    "cloth_g": Law("background", "normal", 0.28, base=0.45, low=0.05, high=0.9),
    "cloth_b": Law("background", "normal", 0.28, base=0.45, low=0.05, high=0.9),
    "blur": Law("blur", "spread", 0.75),  # standard deviation, in pixels of a 32-pixel image
    "lowres": Law("lowres", "chance", 0.6, low=0.0, high=1.0),
    "lowres_blur": Law("lowres", "style", 2.25, base=0.75),  # added to blur where lowres is 1
    "noise": Law("noise", "spread", 0.048, low=0.0),  # standard deviation, pixel values in [0, 1]
}
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(law.group for law in NUISANCE.values()))
OFF_BY_DEFAULT = frozenset({"occlusion", "lowres"})  # difficulty does not switch these on


def split_number(split: str) -> int:
    if split not in SPLITS:
        raise ValueError(f"split: found {split!r}, expected one of {', '.join(map(repr, SPLITS))}")
    return SPLITS[split]


def strengths(difficulty: float, nuisance: Mapping[str, float] | None = None) -> dict[str, float]:
    """Strength of every nuisance group: the difficulty, or what ``nuisance`` says (0 = off, 1 = difficulty 1)."""
    _check_strength("difficulty", difficulty)
    result = {group: 0.0 if group in OFF_BY_DEFAULT else float(difficulty) for group in GROUPS}
    for group, strength in (nuisance or {}).items():
        if group not in GROUPS:
            raise ValueError(f"nuisance: found group {group!r}, expected one of {', '.join(GROUPS)}")
        _check_strength(f"nuisance[{group!r}]", strength)
        result[group] = float(strength)
    return result


def _check_strength(name: str, value: float) -> None:
    if not 0 <= value <= 3:  # also catches NaN
        raise ValueError(f"{name}: found {value}, expected a number from 0 to 3")


def draw_traits(
    identities: Tensor, seed: int = 0, split: str = "fit", kinship: float = 0.0, family_size: int = 4
) -> dict[str, Tensor]:
    """Traits of the people numbered ``identities`` (int64 ``(N,)``): name -> float32 ``(N,)``, uniform in ``TRAITS``.

    With ``kinship`` rho > 0, people ``family_size*k ... family_size*(k+1)-1`` are a family: each trait's normal
    score is ``sqrt(rho) * family + sqrt(1 - rho) * own``, so that relatives correlate by rho and every trait
    stays uniform over all people. Traits depend on (seed, split, identity) and kinship only.
    """
    if not 0 <= kinship < 1:
        raise ValueError(f"kinship: found {kinship}, expected 0 <= kinship < 1")
    if family_size < 1:
        raise ValueError(f"family_size: found {family_size}, expected at least 1")
    number = split_number(split)
    names = list(TRAITS)
    own = counter.uniform(counter.streams(counter.key(_TRAIT, seed, number, identities), names))  # (N, traits)
    if kinship > 0:
        families = counter.key(_TRAIT, seed, number, -1 - identities // family_size)
        shared = counter.uniform(counter.streams(families, names))
        own = _related(shared, own, kinship)
    low, high = torch.tensor(list(TRAITS.values()), dtype=torch.float64).unbind(1)
    values = (low + (high - low) * own).float()
    return {name: values[:, i].contiguous() for i, name in enumerate(names)}


def _related(shared: Tensor, own: Tensor, kinship: float) -> Tensor:
    """Mix uniforms through their normal scores. One number at a time: vector code may round by position."""
    score, a, b = NormalDist(), math.sqrt(kinship), math.sqrt(1 - kinship)
    pairs = zip(shared.flatten().tolist(), own.flatten().tolist(), strict=True)
    mixed = [score.cdf(a * score.inv_cdf(s) + b * score.inv_cdf(o)) for s, o in pairs]
    return torch.tensor(mixed, dtype=torch.float64).view_as(own)


def draw_nuisance(
    identities: Tensor,
    shots: Tensor,
    seed: int = 0,
    split: str = "fit",
    strength: Mapping[str, float] | None = None,
    fixed: Mapping[str, float | Tensor] | None = None,
) -> dict[str, Tensor]:
    """Nuisance of shot ``shots[i]`` of person ``identities[i]``: name -> float32 ``(N,)``, plus the noise's key.

    ``strength`` is a dict from ``strengths(...)`` (default: difficulty 1); ``fixed`` sets single nuisances to a
    number, or to a tensor ``(N,)``. Each draw has its own stream: setting one leaves all others as they were.
    """
    strength = strengths(1.0) if strength is None else strength
    keys = counter.key(_SHOT, seed, split_number(split), identities, shots)  # (N,)
    words = counter.streams(keys, list(NUISANCE))  # (N, nuisances)
    drawn = {
        name: _draw(law, words[:, i], strength[law.group]).float() for i, (name, law) in enumerate(NUISANCE.items())
    }
    for name, value in (fixed or {}).items():
        drawn[name] = _fixed(name, value, len(keys))
    # the renderer hashes pixels in 32 bits: sign-extended, so that int32 arithmetic can take it as it is
    drawn["noise_key"] = (counter.streams(keys, ["pixels"])[:, 0] >> 32).to(torch.int32)
    return drawn


def _draw(law: Law, words: Tensor, s: float) -> Tensor:
    if law.kind in ("normal", "excess", "dip"):
        n = counter.normal(words).clamp(-2.2, 2.2)
        if law.kind == "normal":
            value = law.base + s * law.size * n
        elif law.kind == "excess":
            value = (s * law.size * n - law.base).clamp(min=0)
        else:
            value = law.base - s * law.size * n.abs()
    else:
        u = counter.uniform(words)
        if law.kind == "chance":
            value = (u < s * law.size).double()
        else:
            value = law.base + (s if law.kind == "spread" else 1) * law.size * u
    return value.clamp(law.low, law.high)


def _fixed(name: str, value: float | Tensor, count: int) -> Tensor:
    if name not in NUISANCE:
        raise ValueError(f"fixed: found {name!r}, expected one of {', '.join(NUISANCE)}")
    tensor = torch.as_tensor(value, dtype=torch.float32)
    if tensor.ndim and tensor.shape != (count,):
        raise ValueError(f"fixed[{name!r}]: found shape {tuple(tensor.shape)}, expected a number or ({count},)")
    law = NUISANCE[name]
    if not bool(((tensor >= law.low) & (tensor <= law.high) & tensor.isfinite()).all()):
        raise ValueError(
            f"fixed[{name!r}]: found values from {float(tensor.min())} to {float(tensor.max())}, "
            f"expected finite ones from {law.low} to {law.high}"
        )
    return tensor.expand(count).clone()
