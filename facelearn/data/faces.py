"""`SyntheticFaces`: an endless supply of labelled faces that belong to nobody."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facelearn.data import counter
from facelearn.data.face_factors import draw_nuisance, draw_traits, split_number, strengths
from facelearn.data.face_renderer import VERSION, check_size, render
from facelearn.data.image_set import ImageSet
from facelearn.files import whole

_LABEL = 3  # first part of the keys of label noise


class SyntheticFaces(ImageSet):
    """Rendered faces of ``identities`` people, ``images_per_identity`` shots each, in memory.

    Arguments:
        identities: number of people, their labels are ``0 ... identities-1``.
        images_per_identity: one number for all, or one per person (see ``long_tail``); none below 1.
        size: pixels per side, 32 to 112.
        seed: data seed, 0 <= seed < 2**63. Each picture depends on (seed, split, person, shot) and on nothing else.
        difficulty: strength of every nuisance (0 = passport photographs, 1 = hard); occlusion and lowres excepted,
            which stay off until set.
        split: "fit", "tune" or "open". The people of different splits are never the same.
        nuisance: strength of single groups instead of ``difficulty``, such as ``{"pose": 0, "occlusion": .5}``;
            0 switches a group off. The groups: ``facelearn.data.GROUPS``.
        fixed: value of single nuisances for all images, or a tensor with one per image, such as ``{"yaw": .5}``
            (radians). The names, units and laws: ``facelearn.data.NUISANCE``.
        first_shot: number of the first shot; other shots of the same people start at another.
        kinship, family_size: 0 <= kinship < 1 makes each ``family_size`` neighbours look alike: their traits
            correlate by ``kinship``.
        label_noise: share of the images whose label is replaced by another person, drawn at random.
        device: where pictures are drawn; they come back to the CPU.
        cache: keep the pictures in ``$FACELEARN_CACHE`` (else ``~/.cache/facelearn``), so that the next set with the
            same arguments need not be drawn. Where that folder cannot be written, a warning says so.

    Attributes: ``images`` uint8 ``(N, 3, size, size)``; ``labels`` int64 ``(N,)``; ``identities`` int64 ``(N,)``, the
    true persons (the labels before noise); ``shots`` int64 ``(N,)``; ``nuisance``, name -> float32 ``(N,)``;
    ``traits``, name -> float32 ``(identities,)``.
    """

    def __init__(
        self,
        identities: int = 300,
        images_per_identity: int | Sequence[int] | Tensor = 20,
        size: int = 32,
        seed: int = 0,
        difficulty: float = 0.6,
        split: str = "fit",
        *,
        nuisance: Mapping[str, float] | None = None,
        fixed: Mapping[str, float | Tensor] | None = None,
        first_shot: int = 0,
        kinship: float = 0.0,
        family_size: int = 4,
        label_noise: float = 0.0,
        device: torch.device | str | None = None,
        cache: bool = True,
    ) -> None:
        plan = FacePlan(
            identities, images_per_identity, size, seed, difficulty, split, nuisance=nuisance, fixed=fixed,
            first_shot=first_shot, kinship=kinship, family_size=family_size, label_noise=label_noise,
        )  # fmt: skip
        self.identities, self.shots = plan.identities, plan.shots
        self.traits, self.nuisance = plan.traits, plan.nuisance
        path = _cache_folder() / f"faces-{plan.digest()}.npz" if cache else None
        images = _load(path, (len(plan.labels), 3, size, size)) if path else None
        if images is None:
            images = plan.draw(device=device)
            if path:
                _save(path, images)
        super().__init__(images, plan.labels)


class FacePlan:
    """All that decides the pictures of `SyntheticFaces`, before one is drawn: a large set can be drawn in parts.

    The arguments and attributes are those of `SyntheticFaces`.
    """

    def __init__(
        self,
        identities: int = 300,
        images_per_identity: int | Sequence[int] | Tensor = 20,
        size: int = 32,
        seed: int = 0,
        difficulty: float = 0.6,
        split: str = "fit",
        *,
        nuisance: Mapping[str, float] | None = None,
        fixed: Mapping[str, float | Tensor] | None = None,
        first_shot: int = 0,
        kinship: float = 0.0,
        family_size: int = 4,
        label_noise: float = 0.0,
    ) -> None:
        check_size(size)
        _check_integer("identities", identities, 1)
        _check_integer("seed", seed, 0)
        _check_integer("first_shot", first_shot, 0)
        sizes = _class_sizes(images_per_identity, identities)
        strength = strengths(difficulty, nuisance)

        self.size = size
        people = torch.arange(identities)
        self.identities = people.repeat_interleave(sizes)  # (N,)
        starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        self.shots = torch.arange(len(self.identities)) - starts + first_shot
        self.traits = draw_traits(people, seed, split, kinship, family_size)
        self.nuisance = draw_nuisance(self.identities, self.shots, seed, split, strength, fixed)
        self._noise_key = self.nuisance.pop("noise_key")
        self.labels = _noisy_labels(self.identities, self.shots, identities, label_noise, seed, split)

    def _columns(self, rows: slice | Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Traits and nuisance of these pictures, one value per picture each."""
        traits = {name: values[self.identities[rows]] for name, values in self.traits.items()}
        return traits, {name: v[rows] for name, v in self.nuisance.items()} | {"noise_key": self._noise_key[rows]}

    def digest(self) -> str:
        """A hash of all that decides a pixel."""
        traits, columns = self._columns(slice(None))
        return _name({"version": VERSION, "size": self.size, "values": _digest({**traits, **columns})})

    def draw(self, rows: slice | Tensor = slice(None), device: torch.device | str | None = None) -> Tensor:
        """The pictures of these rows (slice, mask or numbers), uint8 ``(n, 3, size, size)`` on the CPU."""
        return render(*self._columns(rows), self.size, device).cpu()


def long_tail(identities: int, largest: int, smallest: int = 2, power: float = 1.0) -> Tensor:
    """Class sizes of a long tail, int64 ``(identities,)``: ``max(smallest, round(largest / (k+1)**power))``."""
    _check_integer("identities", identities, 1)
    _check_integer("smallest", smallest, 1)
    _check_integer("largest", largest, smallest)
    if not 0 <= power < 100:
        raise ValueError(f"power: found {power}, expected 0 or more")
    return torch.tensor([max(smallest, round(largest / (k + 1) ** power)) for k in range(identities)])


def _check_integer(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise ValueError(f"{name}: found {value!r}, expected an integer, at least {least}")


def _class_sizes(images_per_identity: int | Sequence[int] | Tensor, identities: int) -> Tensor:
    name = "images_per_identity"
    if isinstance(images_per_identity, int):
        _check_integer(name, images_per_identity, 1)
        return torch.full((identities,), images_per_identity)
    sizes = torch.as_tensor(images_per_identity)
    if sizes.shape != (identities,) or sizes.is_floating_point() or sizes.dtype == torch.bool:
        found = f"{sizes.dtype} {tuple(sizes.shape)}"
        raise ValueError(f"{name}: found {found}, expected one integer, or integers ({identities},)")
    if int(sizes.min()) < 1:
        raise ValueError(f"{name}: found {int(sizes.min())}, expected at least 1 each")
    return sizes.long()


def _noisy_labels(people: Tensor, shots: Tensor, identities: int, share: float, seed: int, split: str) -> Tensor:
    """The labels, of which round(share * N) are replaced by another person."""
    if not 0 <= share <= 1:
        raise ValueError(f"label_noise: found {share}, expected a share from 0 to 1")
    if share > 0 and identities < 2:
        raise ValueError(f"label_noise: found {share} for one identity, expected at least 2 identities")
    words = counter.streams(counter.key(_LABEL, seed, split_number(split), people, shots), ["who", "whose"])
    labels = people.clone()
    chosen = words[:, 0].argsort(stable=True)[: round(share * len(people))]
    step = 1 + words[chosen, 1].remainder(max(1, identities - 1))  # 1 ... identities-1: never the true person
    labels[chosen] = (people[chosen] + step) % identities
    return labels


# The cache: one .npz per set of pictures. Its name is a hash of all that decides a pixel; zip files carry a checksum.


def _cache_folder() -> Path:
    return Path(os.environ.get("FACELEARN_CACHE") or Path.home() / ".cache" / "facelearn")


def _digest(columns: Mapping[str, Tensor]) -> str:
    """A hash of every value that the renderer is given."""
    digest = hashlib.sha256()
    for name in sorted(columns):
        digest.update(name.encode() + b"\0" + columns[name].numpy().tobytes())
    return digest.hexdigest()


def _name(drawing: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(drawing, sort_keys=True).encode()).hexdigest()[:32]


def _load(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """The pictures in ``path``; None if there are none, or if the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            images = file["images"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # zip, zlib and numpy each have their own names for a damaged file
        warnings.warn(f"cache file {path} cannot be read ({error}): drawing the faces again", stacklevel=3)
        return None
    if images.shape != shape or images.dtype != np.uint8:
        found = f"{images.dtype} {images.shape}"
        warnings.warn(f"cache file {path} holds {found}, expected uint8 {shape}: drawing again", stacklevel=3)
        return None
    return torch.from_numpy(images)


def _save(path: Path, images: Tensor) -> None:
    """Write the whole file or none. Two writers at once both succeed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as file:
            np.savez(file, images=images.numpy())
    except OSError as error:
        warnings.warn(
            f"cache folder {path.parent} cannot be written ({error}): the faces are kept in memory only; "
            "set FACELEARN_CACHE to a folder that can, or pass cache=False",
            stacklevel=3,
        )
