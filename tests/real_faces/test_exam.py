"""The exam: on drawn faces, whom it drops, that it repeats, what it writes; and a small part of LFW, where that is."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("skimage", reason='needs scikit-image: pip install "facelearn[real]"')

from facelearn.data.lfw import LFWPairs, read_pairs, read_people
from facelearn.real_faces import Configuration, load, take_exam
from facelearn.real_faces.__main__ import exam_text, main
from facelearn.real_faces.exam import together
from tests.real_faces.drawn import write_lfw

QUICK = Configuration(steps=4, width=4, descriptor_dimensions=10, feature_dimensions=10, resamples=20)
DATA = Path(os.environ.get("FACELEARN_DATA", "/nowhere")) / "lfw"


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lfw(tmp_path_factory.mktemp("train"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lfw(tmp_path_factory.mktemp("exam"), sets=2, people=6, images=2, seed=5, prefix="Q")


def test_exam_measures_every_system_and_repeats(train: Path, strangers: Path) -> None:
    first, again = (
        take_exam(strangers / "pairs.txt", strangers / "faces_aligned112.tar", train, QUICK) for _ in range(2)
    )
    assert first["systems"] == again["systems"]
    assert first["train"] == {"images": 72, "people": 24, "dropped because they are in the exam": []}
    assert first["exam"] == {"pairs": 24, "folds": 2, "images": 24, "people": 12}
    assert set(first["systems"]) == {
        "net", "net + JB", "features + JB", "whole net", "lbp + JB", "lbp + wide lbp + daisy", "whole net + lbp",
        "whole net + lbp + wide lbp + daisy",
    }  # fmt: skip
    for system in first["systems"].values():
        assert system["accuracy"] == pytest.approx(np.mean(system["fold_accuracies"]))
        low, high = system["intervals"]["accuracy"]
        assert low <= system["accuracy"] <= high
        assert 0 <= system["accuracy_training_threshold"] <= 1
    assert "too few" in exam_text(first)


def test_people_of_the_exam_are_dropped_from_training(train: Path) -> None:
    """The exam asks for the third fold of the training lists: eight people, who must go, with images and pairs."""
    known = load(train)
    lines = (train / "pairs.txt").read_text().split("\n")
    third = train / "third.txt"
    third.write_text("\n".join(["1\t8", *lines[33:49]]) + "\n")
    asked = LFWPairs(third, train / "faces_aligned112.tar")
    faces, dropped = together(known, asked)
    assert dropped == known.names[16:]
    kept = {faces.names[i] for i in faces.labels[faces.sets == 0]}
    examined = {faces.names[i] for i in faces.labels[faces.sets == 1]}
    assert kept == set(known.names[:16])
    assert examined == set(dropped)
    assert (faces.sets[faces.pairs] == faces.folds[:, None]).all()
    first, second = ([faces.names[i] for i in faces.labels[column]] for column in faces.pairs.T)
    assert [a == b for a, b in zip(first, second, strict=True)] == faces.same.tolist()
    for number in np.flatnonzero(faces.folds == 0):  # the images of the pairs that stay are the same ones
        image = known.images[known.pairs[number][0]]
        assert (faces.images[faces.pairs[number][0]] == image).all()


def test_command_writes_json_and_says_whom_it_dropped(
    train: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facelearn.real_faces.exam.Configuration", lambda: QUICK)
    lines = (train / "pairs.txt").read_text().split("\n")
    third = tmp_path / "third.txt"
    third.write_text("\n".join(["1\t8", *lines[33:49]]) + "\n")
    images, out = str(train / "faces_aligned112.tar"), tmp_path / "exam.json"
    assert main(["exam", "--pairs", str(third), "--images", images, "--train", str(train), "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["systems"]["net"]["accuracy"] is None  # one fold has no others
    printed = capsys.readouterr().out
    assert "since they are in the exam: P016, P017" in printed
    assert main(["exam", "--pairs", "no.txt", "--images", images, "--train", str(train)]) == 1


def test_the_exam_says_how_far_it_is_and_writes_its_numbers(
    train: Path, strangers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facelearn.real_faces.exam.Configuration", lambda: QUICK)
    given = ["exam", "--pairs", str(strangers / "pairs.txt"), "--images", str(strangers / "faces_aligned112.tar")]
    out = tmp_path / "exam.json"
    assert main([*given, "--train", str(train), "--out", str(out), "--seed", "3", "--device", "cpu"]) == 0
    told = capsys.readouterr()
    steps = ["reading", "training on 72 images of 24 people", "embedding 96", "descriptor daisy", "scoring"]
    places = [told.err.index(step) for step in steps]
    assert places == sorted(places)
    assert told.out.count("\n") > 10
    assert json.loads(out.read_text())["configuration"]["seed"] == 3


@pytest.mark.parametrize("wrong", ["out", "device", "everybody"])
def test_what_cannot_be_is_said_before_anything_is_computed(
    wrong: str, train: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facelearn.real_faces.recipe.train", lambda *_, **__: pytest.fail("trained"))
    given = ["exam", "--pairs", str(train / "pairs.txt"), "--images", str(train / "faces_aligned112.tar")]
    (tmp_path / "file").touch()
    more = {"out": ["--out", str(tmp_path / "file" / "exam.json")], "device": ["--device", "cuda:77"], "everybody": []}
    more["everybody"] = ["--out", str(tmp_path / "exam.json")]
    assert main([*given, "--train", str(train), *more[wrong]]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: ")
    expected = {"out": "--out: cannot be written", "device": "device: 'cuda:77' cannot be used",
                "everybody": "24 of the 24 people of the training sets are in the exam"}  # fmt: skip
    assert expected[wrong] in told


@pytest.mark.skipif(not DATA.is_dir(), reason="FACELEARN_DATA has no lfw")
def test_a_small_part_of_lfw(tmp_path: Path) -> None:
    """Some pairs of folds 1 to 4 to train on, of fold 5 for the exam; their people alone. Above chance will do."""
    listed = read_pairs(DATA / "pairs_folds1-5.txt")
    chosen = [pair for fold in range(5) for kind in (True, False)
              for pair in [p for p in listed if p.fold == fold and p.same == kind][:25]]  # fmt: skip

    def text(pairs: list, folds: int) -> str:
        def line(pair: object) -> str:
            (name, first), (other, second) = pair.first, pair.second  # type: ignore[attr-defined]
            return f"{name}\t{first}\t{second}" if name == other else f"{name}\t{first}\t{other}\t{second}"

        return "\n".join([f"{folds}\t25", *map(line, pairs)]) + "\n"

    ahead, last = [p for p in chosen if p.fold < 4], [p for p in chosen if p.fold == 4]
    names = {name for pair in ahead for name, _ in (pair.first, pair.second)}
    people = [p for p in read_people(DATA / "people_sets1-5.txt") if p.name in names and p.images <= 12]
    names = {p.name for p in people}
    ahead = [p for p in ahead if {p.first[0], p.second[0]} <= names]
    sets = ["4"]
    for k in range(4):
        own = [p for p in people if p.set == k]
        sets += [str(len(own)), *(f"{p.name}\t{p.images}" for p in own)]
    (tmp_path / "people.txt").write_text("\n".join(sets) + "\n")
    kinds = [[p for p in ahead if p.fold == k and p.same == same] for k in range(4) for same in (True, False)]
    least = min(map(len, kinds))
    equal = [pair for kind in kinds for pair in kind[:least]]
    (tmp_path / "pairs.txt").write_text(text(equal, 4).replace("4\t25", f"4\t{least}", 1))
    (tmp_path / "lfw_aligned112.tar").symlink_to(DATA / "lfw_aligned112_sets1-5.tar")
    (tmp_path / "exam.txt").write_text(text(last, 1))
    quick = Configuration(steps=60, width=8, descriptor_dimensions=60, feature_dimensions=60, resamples=50)
    found = take_exam(tmp_path / "exam.txt", DATA / "lfw_aligned112_sets1-5.tar", tmp_path, quick)
    assert found["train"]["dropped because they are in the exam"] == []
    systems = found["systems"]
    assert systems["lbp + JB"]["eer"] < 0.35
    assert systems["features + JB"]["eer"] < 0.4
    assert systems["whole net + lbp + wide lbp + daisy"]["eer"] < 0.3
    assert systems["whole net + lbp + wide lbp + daisy"]["all pairs"]["eer"] < 0.3
