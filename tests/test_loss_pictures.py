"""The pictures of the table of losses: one for each, small, made as the table beside them says."""

from __future__ import annotations

import csv

import pytest
import torch
from PIL import Image

from facelearn.data import digits
from facelearn.losses import REGISTRY, Joint
from tools import loss_pictures as script


def rows() -> list[dict[str, str]]:
    with (script.FOLDER / script.TABLE).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_loss_has_a_small_picture_and_its_settings_as_the_script_has_them():
    assert [row["stem"] for row in rows()] == list(REGISTRY)
    assert {path.stem for path in script.FOLDER.glob("*.png")} == set(REGISTRY)
    for row in rows():
        path = script.FOLDER / f"{row['stem']}.png"
        assert path.stat().st_size <= script.LIMIT
        assert min(Image.open(path).size) > 300
        assert row["setting"] == str(script.PICTURES[row["stem"]].recipe)
        assert int(row["classes"]) == script.PICTURES[row["stem"]].classes
        assert (int(row["seed"]), int(row["steps"]), row["digits"]) == (script.SEED, script.STEPS, "digits")


def test_every_picture_shows_classes_that_were_told_apart():
    """A tenth would be chance for ten digits. What a picture shows must be what its loss does, not a collapse."""
    poor = {row["stem"]: row["nearest_mean"] for row in rows() if float(row["nearest_mean"]) < 0.8}
    assert poor == {}


@pytest.mark.parametrize("stem", REGISTRY)
def test_recipes_make_a_loss_whose_margin_grows_to_its_full_size(stem):
    picture = script.PICTURES[stem]
    loss, step = script.build(picture)
    part = loss.parts[1] if isinstance(loss, Joint) else loss
    assert isinstance(part, REGISTRY[stem])
    wanted = {name: value for name, value in picture.recipe.terms[-1].settings.items() if name in script.GROWING}
    step(0, 100)
    grows = not picture.recipe.compares and stem not in ("circleface", "sphereface")
    assert all((getattr(part, name) == 0) == grows for name in wanted)
    step(60, 100)
    assert {name: getattr(part, name) for name in wanted} == pytest.approx(wanted)


def test_a_loss_beside_softmax_starts_when_it_is_due():
    loss, step = script.build(script.PICTURES["ring"])
    weights = [step(number, 100) or loss.weights[1] for number in (0, 29, 30, 99)]
    assert weights == [0.0, 0.0, 0.03, 0.03]


def test_the_same_picture_twice_from_a_short_training(monkeypatch, tmp_path):
    monkeypatch.setattr(script, "STEPS", 22)
    torch.set_num_threads(1)
    shown, held_out = digits("train"), digits("test")
    pictures = []
    for _ in range(2):
        net = script.train("center", shown)
        assert 0.1 < script.nearest_mean(net, shown, held_out) <= 1
        pictures.append(script.embed(net, held_out))
    assert torch.equal(*pictures)


def test_lines_of_losses_that_are_not_drawn_again_stay(tmp_path):
    path = tmp_path / "pictures.csv"
    script.write_table(path, {stem: dict.fromkeys(script.COLUMNS, stem) for stem in ("triplet", "center")})
    script.write_table(
        path, {"softmax": dict.fromkeys(script.COLUMNS, "softmax"), "center": dict.fromkeys(script.COLUMNS, "new")}
    )
    with path.open(encoding="utf-8") as file:
        assert [row["net"] for row in csv.DictReader(file)] == ["softmax", "triplet", "new"]
