"""The losses, one file each; `course/en/notation.md` has the symbols.

    loss = ArcFace(embedding_dim=64, num_classes=300)
    loss(embeddings, labels).backward()

`build("arcface", 64, 300, margin=0.4)` makes any loss by its stem, for scripts.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from facelearn.losses.adaface import AdaFace
from facelearn.losses.arcface import ArcFace
from facelearn.losses.base import Classifier, ClassLoss, Loss, keywords
from facelearn.losses.center import Center
from facelearn.losses.circle import Circle
from facelearn.losses.circleface import CircleFace
from facelearn.losses.combined_margin import CombinedMargin
from facelearn.losses.contrastive import Contrastive
from facelearn.losses.cosface import CosFace
from facelearn.losses.costs import Costs, step_costs
from facelearn.losses.curricularface import CurricularFace
from facelearn.losses.discface import DiscFace
from facelearn.losses.elasticface import ElasticFace
from facelearn.losses.joint import Joint
from facelearn.losses.l2_softmax import L2Softmax
from facelearn.losses.lgm import LGM
from facelearn.losses.magface import MagFace
from facelearn.losses.margin import MarginHead
from facelearn.losses.mv_softmax import MVSoftmax
from facelearn.losses.normface import NormFace
from facelearn.losses.npcface import NPCFace
from facelearn.losses.ring import Ring
from facelearn.losses.sampling import touched_rows_only
from facelearn.losses.softmax import Softmax
from facelearn.losses.sphereface import SphereFace
from facelearn.losses.subcenter_arcface import SubCenterArcFace
from facelearn.losses.supcon import SupCon
from facelearn.losses.triplet import Triplet

#: stem -> class, in course order
REGISTRY: dict[str, type[Loss]] = {
    "softmax": Softmax,
    "normface": NormFace,
    "l2_softmax": L2Softmax,
    "contrastive": Contrastive,
    "supcon": SupCon,
    "triplet": Triplet,
    "circle": Circle,
    "center": Center,
    "ring": Ring,
    "lgm": LGM,
    "sphereface": SphereFace,
    "cosface": CosFace,
    "arcface": ArcFace,
    "combined_margin": CombinedMargin,
    "subcenter_arcface": SubCenterArcFace,
    "mv_softmax": MVSoftmax,
    "curricularface": CurricularFace,
    "circleface": CircleFace,
    "discface": DiscFace,
    "npcface": NPCFace,
    "magface": MagFace,
    "adaface": AdaFace,
    "elasticface": ElasticFace,
}

__all__ = [
    *sorted(kind.__name__ for kind in REGISTRY.values()),
    "REGISTRY",
    "ClassLoss",
    "Classifier",
    "Costs",
    "Joint",
    "Loss",
    "MarginHead",
    "build",
    "known_settings",
    "step_costs",
    "touched_rows_only",
]


def build(stem: str, embedding_dim: int, num_classes: int, process_group: Any = None, **settings: Any) -> Loss:
    """The loss of that stem, whatever its class is made from: `build("arcface", 64, 300, margin=0.4)`.

    Sizes and process group go to losses that take them (`Triplet` knows no classes). DiscFace's base is a stem with its
    settings, `base_loss={"stem": "arcface", "scale": 8}`, and NormFace unless said otherwise.
    ValueError as for `known_settings`, and for values that the loss refuses.
    """
    known = known_settings(stem, settings)
    given = {"embedding_dim": embedding_dim, "num_classes": num_classes, "process_group": process_group}
    if "base_loss" in known:
        base = {"stem": "normface"} | settings.get("base_loss", {})
        settings["base_loss"] = build(**base, **given)
    return REGISTRY[stem](**settings, **{name: value for name, value in given.items() if name in known})


def known_settings(stem: str, given: Iterable[str] = ()) -> set[str]:
    """Names of all that the loss of that stem is made from. ValueError for an unknown stem, and for others `given`."""
    if stem not in REGISTRY:
        raise ValueError(f"loss: {stem!r}; expected one of {', '.join(REGISTRY)}")
    parameters = inspect.signature(REGISTRY[stem]).parameters.values()
    known = keywords(REGISTRY[stem]) | {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    if unknown := sorted(set(given) - known):
        free = known - {
            "embedding_dim",
            "num_classes",
            "process_group",
            "reduction",
            "validate",
            "device",
            "dtype",
            "generator",
        }
        raise ValueError(f"loss: {stem} has no {', '.join(unknown)}; expected some of {', '.join(sorted(free))}")
    return known
