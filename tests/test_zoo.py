"""The nets that come with the package are those that were measured, and measure what their card says."""

import json
import re
from pathlib import Path

import pytest

from facelearn import models
from facelearn.data import standard
from facelearn.models import SmallFaceNet, parameter_count, pretrained, zoo
from facelearn.recipe import Recipe
from facelearn.training import embed
from facelearn.verification import all_pairs, evaluate_pairs

FOLDER = Path(models.__file__).parent / "zoo"


def test_the_files_are_small_and_all_of_them_are_listed() -> None:
    assert set(zoo()) == {"softmax", "triplet", "cosface", "arcface"}
    assert {entry["file"] for entry in zoo().values()} == {p.name for p in FOLDER.glob("*.safetensors")}
    for entry in zoo().values():
        assert (FOLDER / entry["file"]).stat().st_size == entry["bytes"] < 1_000_000


@pytest.mark.parametrize("name", ["softmax", "triplet", "cosface", "arcface"])
def test_each_net_loads_and_tells_drawn_people_apart(name: str) -> None:
    net = pretrained(name)
    assert isinstance(net, SmallFaceNet)
    assert not net.training
    assert parameter_count(net) == 90_312
    faces = standard("tune", identities=20)  # people that neither training nor card have seen
    eer = evaluate_pairs(embed(net, faces), *all_pairs(faces.labels)).eer
    untrained = evaluate_pairs(embed(SmallFaceNet().eval(), faces), *all_pairs(faces.labels)).eer
    assert eer < 0.1 < untrained


def test_a_card_holds_what_its_net_measures_on_the_open_set() -> None:
    entry = zoo()["arcface"]
    faces = standard("open")
    found = evaluate_pairs(embed(pretrained("arcface"), faces), *all_pairs(faces.labels))
    stored = entry["measured"]["numbers"]
    assert stored["eer"]["value"] == pytest.approx(found.eer, abs=5e-4)  # other processors round faces otherwise
    assert stored["tar@1e-03"]["value"] == pytest.approx(found.tar_at(1e-3), abs=5e-3)
    assert stored["eer"]["low"] < found.eer < stored["eer"]["high"]
    for name in ("README.md", "README.zh.md"):
        rows = re.findall(r"^\| `(\w+)` \| .*? \| ([\d.]+%) \[", (FOLDER / name).read_text(), re.MULTILINE)
        assert dict(rows) == {k: f"{v['measured']['numbers']['eer']['value']:.2%}" for k, v in zoo().items()}


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "zoo"
    changed.mkdir()
    content = bytearray((FOLDER / "arcface.safetensors").read_bytes())
    content[-1] ^= 1
    (changed / "arcface.safetensors").write_bytes(content)
    (changed / "zoo.json").write_text((FOLDER / "zoo.json").read_text())
    monkeypatch.setattr(models.resources, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=r"arcface.safetensors: damaged or changed"):
        pretrained("arcface")
    with pytest.raises(ValueError, match="name: 'resnet'; expected one of softmax, triplet"):
        pretrained("resnet")


def test_settings_are_those_that_the_search_chose() -> None:
    path = Path(__file__).resolve().parent.parent / "course" / "settings.json"
    if not path.exists():
        pytest.skip("course/settings.json is not written yet")
    recipes = json.loads(path.read_text())["losses"]
    for name, entry in zoo().items():
        recipe = Recipe.from_json(recipes[name])
        assert Recipe.parse(entry["loss"], recipe.pk) == recipe
        assert entry["training"]["pk"] == (list(recipe.pk) if recipe.pk else None)
