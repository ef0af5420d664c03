"""What is exported is what was drawn, whole or not at all."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facelearn.data import SyntheticFaces, export

SETTINGS = {"identities": 3, "images_per_identity": 2, "size": 32, "seed": 5, "cache": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export.export_faces(tmp_path_factory.mktemp("export") / "deep" / "faces", SETTINGS)


def test_the_files_hold_the_pixels_labels_and_factors(folder: Path) -> None:
    faces = SyntheticFaces(**json.loads((folder / "settings.json").read_text()))
    table = pd.read_csv(folder / "images.csv")
    assert sorted(table["file"]) == sorted(str(p.relative_to(folder)) for p in folder.glob("*/*.png"))
    for i, name in enumerate(table["file"]):
        assert np.array_equal(np.asarray(Image.open(folder / name)), faces.images[i].permute(1, 2, 0).numpy())
        assert int(Path(name).parent.name) == table["label"][i] == int(faces.labels[i])
    np.testing.assert_allclose(table["yaw"], faces.nuisance["yaw"], rtol=1e-5)
    traits = pd.read_csv(folder / "traits.csv", index_col="identity")
    assert set(traits) == set(faces.traits)
    np.testing.assert_allclose(traits["face_w"], faces.traits["face_w"], rtol=1e-5)
    assert "3 people, 6 images, 32 x 32" in (folder / "README.md").read_text()


def test_noisy_labels_stand_in_the_folder_of_their_label(tmp_path: Path) -> None:
    folder = export.export_faces(tmp_path / "noisy", SETTINGS | {"label_noise": 1.0})
    table = pd.read_csv(folder / "images.csv")
    assert (table["label"] != table["identity"]).all()
    assert [int(Path(name).parent.name) for name in table["file"]] == table["label"].tolist()


def test_the_sheet_has_a_row_per_person(folder: Path) -> None:
    faces = SyntheticFaces(**SETTINGS)
    sheet = np.asarray(Image.open(folder / "sheet.png"))
    assert sheet.shape == (3 * 34 - 2, 10 * 34 - 2, 3)
    assert np.array_equal(sheet[34:66, 34:66], faces.images[3].permute(1, 2, 0).numpy())  # person 1, shot 1
    assert (sheet[:, 70:] == 255).all()


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "save_sheet", full_disk)
    with pytest.raises(OSError, match="No space"):
        export.export_faces(tmp_path / "faces", SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exists already"):
        export.export_faces(folder, SETTINGS)
    with pytest.raises(ValueError, match="size: found 8"):
        export.export_faces(tmp_path / "small", SETTINGS | {"size": 8})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="people: 0"):
        export.save_sheet(tmp_path / "s.png", SyntheticFaces(**SETTINGS), people=0)


def test_the_same_settings_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = export.export_faces(tmp_path / "again", SETTINGS)
    for path in folder.rglob("*.*"):
        if path.is_file():
            assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes()
