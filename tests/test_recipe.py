"""One recipe, in words and in JSON, and the loss that comes of it."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from facelearn import losses
from facelearn.losses import REGISTRY, Joint
from facelearn.recipe import Recipe

PK = {"identities_per_batch": 4, "images_per_identity": 3}
RING = {"loss": "ring", "arguments": {}, "beside_softmax": {"weight": 0.01, "start": 0.3, "bias": False}}
DISC = {"loss": "discface", "arguments": {"base_loss": {"stem": "arcface", "scale": 8}, "weight": 0.4}}


@pytest.mark.parametrize("stem", REGISTRY)
def test_every_loss_is_built_by_its_stem(stem: str) -> None:
    embeddings, labels = torch.randn(12, 8), torch.arange(3).repeat(4)
    loss, on_step = Recipe.parse(stem).build(8, 5, reduction="sum")
    assert type(loss) is REGISTRY[stem]
    assert on_step is None
    assert loss.reduction == "sum"
    assert loss(embeddings, labels).isfinite()
    if isinstance(loss, losses.ClassLoss):
        assert (loss.embedding_dim, loss.num_classes) == (8, 5)


def test_those_that_compare_images_get_several_of_each_person() -> None:
    comparing = {stem for stem in REGISTRY if Recipe.parse(stem).batches}
    assert comparing == {"contrastive", "supcon", "triplet", "circle"}
    batches = Recipe.parse("softmax+0.1*triplet", batch_size=40).batches
    assert (batches.identities_per_batch, batches.images_per_identity) == (10, 4)
    assert Recipe.parse("arcface", pk=(5, 2)).batches.identities_per_batch == 5


def test_words_name_all_settings() -> None:
    loss, begin = Recipe.parse("softmax:bias=false + 0.03*ring:start=0.5 + 1e-3*center:alpha=.25").build(8, 5)
    begin(4, 10)
    assert loss.weights == [1.0, 0.0, 0.001]
    begin(5, 10)
    assert loss.weights == [1.0, 0.03, 0.001]
    assert loss.parts[0].bias is None
    assert loss.parts[2].alpha == 0.25
    disc, begin = Recipe.parse("discface:base=cosface,base.scale=8,base.margin=.4,weight=0.2").build(8, 5)
    assert begin is None
    assert (type(disc.base_loss).__name__, disc.base_loss.scale, disc.weight) == ("CosFace", 8, 0.2)
    assert type(Recipe.parse("discface").build(8, 5)[0].base_loss) is losses.NormFace
    mv, _ = Recipe.parse("mv_softmax:kind=am,t=0.3,tile=none").build(8, 5)
    assert (mv.kind, mv.t, mv.tile) == ("am", 0.3, None)
    assert Recipe.parse("0.5*arcface").build(8, 5)[0].weights == [0.5]


def test_json_and_words_are_one_recipe() -> None:
    assert str(Recipe.from_json(RING)) == "softmax:bias=false+0.01*ring:start=0.3"
    assert str(Recipe.from_json(DISC)) == "discface:base=arcface,base.scale=8,weight=0.4"
    protocol: Any = importlib.import_module("experiments.protocol")
    for plain in (recipe for grid in protocol.GRIDS.values() for recipe in grid):
        recipe = Recipe.from_json(plain)
        assert Recipe.parse(str(recipe), recipe.pk) == recipe
        loss, on_step = recipe.build(8, 3)
        assert (on_step is not None) == (plain["loss"] == "ring")
        assert isinstance(loss, Joint) == ("beside_softmax" in plain)
    assert Recipe.from_json({"loss": "triplet", "arguments": {}, "batches": PK}).pk == (4, 3)


@pytest.mark.parametrize(
    ("plain", "told"),
    [
        ({"loss": "arcface"}, r"recipe: found no arguments; expected loss, arguments, batches, beside_softmax"),
        (RING | {"weigth": 1}, r"recipe: found weigth; expected"),
        (
            RING | {"beside_softmax": {"weight": 1, "strat": 0.3}},
            r"beside_softmax: found strat; expected weight",
        ),
        (RING | {"batches": {"p": 3}}, r"batches: found p; expected identities_per_batch"),
        ("arcface", r"recipe: found 'arcface'"),
        ({"loss": "arcface", "arguments": {"margn": 1}}, r"loss: arcface has no margn; expected some of beyond_pi"),
        ({"loss": "discface", "arguments": {"base_loss": "arcface"}}, r"base_loss='arcface' of discface"),
        ({"loss": "discface", "arguments": {"base_loss": {"stem": "arcface", "m": 1}}}, r"arcface has no m;"),
        ({"loss": "arcfase", "arguments": {}}, r"loss: 'arcfase'; expected one of softmax"),
    ],
)
def test_names_that_nothing_has_are_said_when_the_recipe_is_read(plain: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Recipe.from_json(plain)


def test_a_loss_says_which_value_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="scale='abc': expected a positive number"):
        losses.build("arcface", 8, 5, scale="abc")
    with pytest.raises(ValueError, match="loss: triplet has no scale; expected some of margin, mining, norm"):
        losses.build("triplet", 8, 5, scale=8)
