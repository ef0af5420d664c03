"""A set that is exported is the set in memory, however often the export was interrupted."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_scripts import render_faces
from facelearn.data import STANDARD, SyntheticFaces, export
from facelearn.data.face_renderer import VERSION
from tests.data_scripts.conftest import ROOT, call, tree

SMALL = ("--identities", 6, "--images", 3, "--size", 32, "--seed", 4)


def arguments(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "settings.json").read_text()))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("render") / "faces"
    status, out, err = call(render_faces, "--to", folder, *SMALL)
    assert (status, err) == (0, "")
    assert "drawn" in out
    return folder


def test_images_tables_and_data_sheet(small: Path) -> None:
    faces = SyntheticFaces(**arguments(small), cache=False)  # type: ignore[arg-type]
    table = pd.read_csv(small / "images.csv")
    assert len(table) == 18 == len(list(small.glob("*/*.png")))
    for name, image in zip(table["file"], faces.images, strict=True):
        assert np.array_equal(np.asarray(Image.open(small / name)), image.permute(1, 2, 0).numpy())
    for name, values in faces.nuisance.items():  # exact: nine digits are enough for float32
        assert np.array_equal(table[name].to_numpy(np.float32), values.numpy()), name
    text = (small / "README.md").read_text()
    assert "6 people, 18 images, 32 x 32 pixels" in text
    for name, value in arguments(small).items():
        assert f"| `{name}` | `{json.dumps(value)}` |" in text
    assert arguments(small) == {
        **STANDARD["fit"],
        "identities": 6,
        "images_per_identity": 3,
        "seed": 4,
        "split": "fit",
        "nuisance": None,
        "fixed": None,
        "first_shot": 0,
        "kinship": 0.0,
        "family_size": 4,
        "label_noise": 0.0,
    }


def test_second_run_other_settings_and_check(small: Path) -> None:
    before = tree(small)
    status, out, _ = call(render_faces, "--to", small, *SMALL)
    assert (status, "already there" in out) == (0, True)
    status, _, err = call(render_faces, "--to", small, *SMALL, "--kinship", 0.5)
    assert (status, "other settings" in err) == (1, True)
    assert tree(small) == before
    assert call(render_faces, "--check", small)[0] == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("a person gone", "found no 0001/0001_0000.png (3 are missing)"),
        ("an empty image", "found no 0000/0000_0000.png (1 are missing)"),
        ("no table", "images.csv"),
        ("another version", "by version 0 of the renderer"),
        ("other settings.json", "settings.json: found"),
    ],
)
def test_a_set_that_is_not_whole_is_not_there(small: Path, tmp_path: Path, damage: str, message: str) -> None:
    shutil.copytree(small, tmp_path / "faces")
    if damage == "a person gone":
        shutil.rmtree(tmp_path / "faces" / "0001")
    elif damage == "an empty image":
        (tmp_path / "faces" / "0000" / "0000_0000.png").write_bytes(b"")
    elif damage == "no table":
        (tmp_path / "faces" / "images.csv").unlink()
    elif damage == "another version":
        sheet = tmp_path / "faces" / "README.md"
        sheet.write_text(sheet.read_text().replace(f"version {VERSION}", "version 0"))
    else:
        (tmp_path / "faces" / "settings.json").write_text("")
    status, _, err = call(render_faces, "--to", tmp_path / "faces", *SMALL)
    assert (status, message in err) == (1, True), err


@pytest.mark.parametrize("damage", ["another picture", "truncated", "gone"])
def test_check_finds_what_was_changed(small: Path, tmp_path: Path, damage: str) -> None:
    for name, data in tree(small).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    victim, other = sorted(tmp_path.glob("*/*.png"))[:2]
    if damage == "another picture":
        victim.write_bytes(other.read_bytes())
    elif damage == "truncated":
        victim.write_bytes(victim.read_bytes()[:-600])
    else:
        victim.unlink()
    with pytest.raises((render_faces.Stop, ValueError)) as error:
        render_faces.check(tmp_path)
    assert ("SHA-256" if damage == "another picture" else victim.name) in str(error.value)


SMALL_PARTS = """
import sys
sys.path.insert(0, {root!r})
from data_scripts import _fetch, render_faces
from facelearn.data import export
export._PIXELS = 10 * 48**2  # parts of ten pictures
_fetch.run(render_faces.main)
"""


def test_killed_and_run_again(tmp_path: Path) -> None:
    options = ("--to", tmp_path / "faces", "--identities", 20, "--images", 12, "--size", 48)
    command = [sys.executable, "-c", SMALL_PARTS.format(root=str(ROOT)), *map(str, options)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while len(list(tmp_path.glob(".faces.*.part/*/*.png"))) < 30:
        time.sleep(0.01)
        assert first.poll() is None, first.communicate()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not (tmp_path / "faces").exists()
    (growing,) = tmp_path.glob(".faces.*.part")
    kept = {path.relative_to(growing): path.stat().st_mtime_ns for path in growing.glob("*/*.png")}
    export._PIXELS, before = 10 * 48**2, export._PIXELS
    try:
        status, _, err = call(render_faces, *options)
    finally:
        export._PIXELS = before
    assert (status, err) == (0, "")
    assert not list(tmp_path.glob(".faces.*"))
    assert len(list((tmp_path / "faces").glob("*/*.png"))) == 240
    same = sum((tmp_path / "faces" / path).stat().st_mtime_ns == then for path, then in kept.items())
    assert same == len(kept) // 10 * 10  # every part that was finished
    assert call(render_faces, "--check", tmp_path / "faces")[0] == 0
    straight = export.export_faces(tmp_path / "again", arguments(tmp_path / "faces"))
    assert tree(straight) == tree(tmp_path / "faces")


def test_parts_make_no_difference(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_PIXELS", 5 * 32 * 32)  # four parts of five pictures or fewer
    drawn = []
    draw = export.FacePlan.draw
    monkeypatch.setattr(
        export.FacePlan, "draw", lambda plan, rows, *rest: drawn.append(rows) or draw(plan, rows, *rest)
    )
    folder = export.export_faces(tmp_path / "faces", arguments(small))
    assert tree(folder) == tree(small)
    assert drawn[:4] == [slice(0, 5), slice(5, 10), slice(10, 15), slice(15, 18)]


def test_an_interrupted_export_draws_only_what_is_missing(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_PIXELS", 5 * 32 * 32)
    draw = export.FacePlan.draw
    drawn: list[object] = []

    def interrupted(plan: export.FacePlan, rows: slice, *rest: object) -> object:
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(rows)
        return draw(plan, rows, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(export.FacePlan, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export.export_faces(tmp_path / "faces", arguments(small))
    assert len(list(tmp_path.glob(".faces.*.part/*/*.png"))) == 10
    with pytest.raises(KeyboardInterrupt):  # other settings begin anew, and clear away what nobody will go on with
        export.export_faces(tmp_path / "faces", {**arguments(small), "seed": 5})
    assert len(list(tmp_path.glob(".faces.*.part"))) == 1
    assert not list(tmp_path.glob(".faces.*.part/*/*.png"))
    drawn.clear()
    with pytest.raises(KeyboardInterrupt):
        export.export_faces(tmp_path / "faces", arguments(small))
    monkeypatch.setattr(
        export.FacePlan, "draw", lambda plan, rows, *rest: drawn.append(rows) or draw(plan, rows, *rest)
    )
    export.export_faces(tmp_path / "faces", arguments(small))
    assert drawn[:4] == [slice(0, 5), slice(5, 10), slice(10, 15), slice(15, 18)]
    assert tree(tmp_path / "faces") == tree(small)


def test_every_argument_reaches_the_set(tmp_path: Path) -> None:
    status, _, err = call(
        render_faces,
        *("--to", tmp_path / "faces", "--standard", "tune", "--split", "open", "--identities", 5),
        *("--long-tail", 4, 2, "--size", 40, "--seed", 9, "--difficulty", 0.3, "--first-shot", 7, "--kinship", 0.4),
        *("--family-size", 2, "--label-noise", 0.5, "--nuisance", "pose=0", "noise=1", "--fixed", "glasses=1"),
    )
    assert (status, err) == (0, "")
    expected = {
        "identities": 5,
        "images_per_identity": [4, 2, 2, 2, 2],
        "size": 40,
        "seed": 9,
        "difficulty": 0.3,
        "split": "open",
        "nuisance": {"pose": 0.0, "noise": 1.0},
        "fixed": {"glasses": 1.0},
        "first_shot": 7,
        "kinship": 0.4,
        "family_size": 2,
        "label_noise": 0.5,
    }
    assert arguments(tmp_path / "faces") == expected
    faces = SyntheticFaces(**expected, cache=False)  # type: ignore[arg-type]
    table = pd.read_csv(tmp_path / "faces" / "images.csv")
    assert table["label"].tolist() == faces.labels.tolist() != faces.identities.tolist()
    assert (table["yaw"] == 0).all()
    assert (table["glasses"] == 1).all()
    assert int(table["shot"].min()) == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", 8), "size: found 8"),
        (("--nuisance", "poses=1"), "nuisance: found group 'poses'"),
        (("--nuisance", "pose"), "invalid pair value"),
        (("--identities", 0), "identities: found 0"),
    ],
)
def test_wrong_arguments(tmp_path: Path, options: tuple[object, ...], message: str) -> None:
    status, _, err = call(render_faces, "--to", tmp_path / "faces", *options)
    assert status != 0
    assert message in err
    assert "Traceback" not in err
    assert tree(tmp_path) == {}
