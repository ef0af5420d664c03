"""A loss with its settings, in words or in JSON, and what a training needs beside it.

    recipe = Recipe.parse("softmax + 0.01*ring:start=0.3")
    loss, on_step = recipe.build(64, 300)                   # for embeddings of 64 numbers and 300 classes
    fit(net, loss, faces, epochs=8, on_step=on_step, batches=recipe.batches)

In words, a loss is its stem in `facelearn.losses` with settings, or a weighted sum of such:

    softmax     arcface:scale=16,margin=0.4     softmax+0.01*center     softmax+0.01*ring:start=0.3
    discface:base=arcface,base.scale=8,base.margin=0.6,weight=0.4

`start` is the share of all steps after which a term of a sum sets in. In JSON, as `course/settings.json` has them:

    {"loss": "triplet", "arguments": {"margin": 0.2}, "batches": {"identities_per_batch": 32, "images_per_identity": 4}}
    {"loss": "ring", "arguments": {}, "beside_softmax": {"weight": 0.01, "start": 0.3, "bias": true}}
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from facelearn import words
from facelearn.data.samplers import PKBatches
from facelearn.losses import REGISTRY, Joint, build, known_settings

OnStep = Callable[[int, int], None]  # what `fit` calls with the number of each step, and how many there are


@dataclass(frozen=True)
class Term:
    """A loss of the sum. ValueError for an unknown stem or setting, and for a start outside of [0, 1)."""

    stem: str
    settings: dict[str, Any]
    weight: float = 1.0
    start: float = 0.0

    def __post_init__(self) -> None:
        known_settings(self.stem, self.settings)
        if base := self.settings.get("base_loss"):
            if not (isinstance(base, dict) and "stem" in base):
                raise ValueError(f"loss: base_loss={base!r} of {self.stem}; expected a stem and its settings")
            known_settings(base["stem"], set(base) - {"stem"})
        if not (isinstance(self.start, int | float) and 0 <= self.start < 1):
            raise ValueError(f"loss: start={self.start} of {self.stem}; expected a share of the steps, 0 to below 1")

    @classmethod
    def parse(cls, text: str) -> Term:
        match = re.fullmatch(r"(?:([\d.eE-]+)\*)?([a-z].*)", text)
        if not match:
            raise ValueError(f"loss: {text!r}; expected STEM:name=value,... or WEIGHT*STEM:...")
        stem, settings = words.parse(match[2], "loss")
        start = settings.pop("start", 0.0)
        inner = {name[5:]: settings.pop(name) for name in list(settings) if name.startswith("base.")}
        if inner or "base" in settings:
            settings["base_loss"] = {"stem": settings.pop("base", "normface"), **inner}
        return cls(stem, settings, float(match[1] or 1), start)

    def __str__(self) -> str:
        plain = {"start": self.start} if self.start else {}
        for name, value in self.settings.items():
            inner = {"base" + (key != "stem") * f".{key}": v for key, v in value.items()} if name == "base_loss" else {}
            plain |= inner or {name: value}
        return (self.weight != 1) * f"{self.weight}*" + words.spell(self.stem, plain)


@dataclass(frozen=True)
class Recipe:
    """A sum of losses, and how its batches are drawn.

    pk: people in a batch, and images of each; None: four images a person where a loss compares images, any images else.
    `str` gives the words. ValueError as for `Term`, and for words or JSON of another form.
    """

    terms: tuple[Term, ...]  # one at least
    pk: tuple[int, int] | None = None
    batch_size: int = 128

    @classmethod
    def parse(cls, text: str, pk: tuple[int, int] | None = None, batch_size: int = 128) -> Recipe:
        """From words."""
        parts = re.split(r"\+(?=(?:[\d.eE-]+\*)?[a-z])", text.replace(" ", ""))
        return cls(tuple(map(Term.parse, parts)), pk, batch_size)

    @classmethod
    def from_json(cls, recipe: dict[str, Any]) -> Recipe:
        """From plain values."""
        _check("recipe", recipe, ("loss", "arguments"), ("batches", "beside_softmax"))
        terms: tuple[Term, ...] = (Term(recipe["loss"], recipe["arguments"]),)
        pk = None
        if beside := recipe.get("beside_softmax"):
            _check("recipe, beside_softmax", beside, ("weight",), ("start", "bias"))
            softmax = Term("softmax", {"bias": beside.get("bias", True)})
            terms = softmax, Term(recipe["loss"], recipe["arguments"], beside["weight"], beside.get("start", 0.0))
        if batches := recipe.get("batches"):
            _check("recipe, batches", batches, ("identities_per_batch", "images_per_identity"))
            pk = batches["identities_per_batch"], batches["images_per_identity"]
        return cls(terms, pk)

    def __str__(self) -> str:
        return "+".join(map(str, self.terms))

    @property
    def compares(self) -> bool:
        """Does one of the losses compare the images of a batch with each other?"""
        return any(REGISTRY[term.stem].compares for term in self.terms)

    @property
    def batches(self) -> PKBatches | None:
        """For `fit`; None where a batch may hold any images."""
        if self.pk is None and self.compares:
            return PKBatches(max(2, self.batch_size // 4), 4)
        return PKBatches(*self.pk) if self.pk else None

    def build(self, embedding_dim: int, num_classes: int, **common: Any) -> tuple[nn.Module, OnStep | None]:
        """The loss, and what `fit` has to call before each step, if anything. ValueError as for `losses.build`.

        common: settings of every term, such as `process_group`.
        """
        losses = [build(t.stem, embedding_dim, num_classes, **t.settings, **common) for t in self.terms]
        if self.terms[1:] == () and self.terms[0].weight == 1 and not self.terms[0].start:
            return losses[0], None
        joint = Joint(*zip((t.weight for t in self.terms), losses, strict=True))

        def begin(step: int, total: int) -> None:
            joint.weights[:] = [t.weight if step >= t.start * total else 0.0 for t in self.terms]

        return joint, begin if any(t.start for t in self.terms) else None


def _check(what: str, given: Any, needed: tuple[str, ...], possible: tuple[str, ...] = ()) -> None:
    """ValueError where plain values hold another name than these, or lack one that is needed."""
    found = set(given) if isinstance(given, dict) else {repr(given)}
    if wrong := sorted(found - {*needed, *possible}) or [f"no {name}" for name in needed if name not in found]:
        raise ValueError(f"{what}: found {', '.join(wrong)}; expected {', '.join((*needed, *possible))}")
