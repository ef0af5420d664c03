"""The experiment in miniature, on drawn faces in LFW's files: what is kept, repeated, refused and printed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("skimage", reason='needs scikit-image: pip install "facelearn[real]"')

from facelearn.real_faces import Settings, compare_lfw, linear_heads, load, recipe, table
from facelearn.real_faces.__main__ import main
from facelearn.real_faces.descriptors import DESCRIPTORS
from facelearn.real_faces.experiment import CONTROLS, orl_eer, stored_lines
from facelearn.recipe import Recipe
from tests.real_faces.drawn import write_lfw

SMALL = Settings(steps=4, width=4, descriptor_dimensions=10, feature_dimensions=10, synthetic_people=6,
                 synthetic_images=3, resamples=10)  # fmt: skip
LOSSES = ["softmax", "supcon"]


@pytest.fixture(scope="module")
def lfw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lfw(tmp_path_factory.mktemp("lfw"))


@pytest.fixture(scope="module")
def run(lfw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FACELEARN_DATA", raising=False)  # no ORL
        compare_lfw(lfw, run=folder, losses=LOSSES, seeds=2, settings=SMALL)
    return folder


@pytest.fixture(autouse=True)
def no_real_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACELEARN_DATA", raising=False)


def test_every_system_is_there_for_every_seed(run: Path) -> None:
    lines = stored_lines(run)
    nets = [line for line in lines if line["loss"] != "classical"]
    assert len(lines) - len(nets) == 2 * len(DESCRIPTORS) + 3
    assert {(line["loss"], line["seed"]) for line in nets} == {(x, s) for x in (*LOSSES, *CONTROLS) for s in (0, 1)}
    assert len(nets) == 6 * 8


def test_a_killed_run_ends_as_if_it_had_not_been(run: Path, lfw: Path) -> None:
    before = (run / "scored" / "supcon_seed1.json").read_text()
    untouched = (run / "nets" / "supcon_seed1_rotation1.safetensors").stat().st_mtime_ns
    (run / "scored" / "supcon_seed1.json").unlink()
    (run / "nets" / "supcon_seed1_rotation2.safetensors").unlink()
    compare_lfw(lfw, run=run, losses=LOSSES, seeds=2, settings=SMALL)
    after = (run / "scored" / "supcon_seed1.json").read_text()
    one, other = ([line | {"seconds": 0} for line in json.loads(text)] for text in (before, after))
    assert json.dumps(one) == json.dumps(other)
    assert (run / "nets" / "supcon_seed1_rotation1.safetensors").stat().st_mtime_ns == untouched


def test_several_processes_find_what_one_does(run: Path, lfw: Path, tmp_path: Path) -> None:
    compare_lfw(lfw, run=tmp_path, losses=["supcon"], seeds=1, settings=SMALL, jobs=2)
    for name in ("classical_seed0", "supcon_seed0", "synthetic_seed0"):
        one, other = (json.loads((folder / "scored" / f"{name}.json").read_text()) for folder in (run, tmp_path))
        assert json.dumps([line | {"seconds": 0} for line in one]) == json.dumps([x | {"seconds": 0} for x in other])
    with pytest.raises(ValueError, match="jobs: 0"):
        compare_lfw(lfw, run=tmp_path, jobs=0)


def test_other_settings_losses_and_faces_are_refused(
    run: Path, lfw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"begun with other settings; expected another run folder"):
        compare_lfw(lfw, run=run, losses=LOSSES, seeds=1, settings=Settings())
    renamed = write_lfw(tmp_path, prefix="R")
    with pytest.raises(ValueError, match=r"begun with other faces; expected another run folder"):
        compare_lfw(renamed, run=run, losses=LOSSES, seeds=1, settings=SMALL)
    monkeypatch.setitem(recipe.LOSSES, "supcon", Recipe.parse("supcon:temperature=0.2"))
    with pytest.raises(ValueError, match=r"begun with other losses; expected another run folder"):
        compare_lfw(lfw, run=run, losses=LOSSES, seeds=1, settings=SMALL)


def test_unknown_losses_and_no_seeds_are_refused(lfw: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"losses \['no'\]"):
        compare_lfw(lfw, run=tmp_path, losses=["no"])
    with pytest.raises(ValueError, match="seeds 0"):
        compare_lfw(lfw, run=tmp_path, seeds=0)


def test_table_has_means_over_seeds_and_rotations(run: Path) -> None:
    lines = stored_lines(run)
    rows, means = table.rows(lines), table.summary(lines).set_index(["system", "loss"])
    one = rows[(rows["system"] == "net") & (rows["loss"] == "supcon")]
    parts = one[one["rotation"] != "all"]
    assert len(parts) == 6
    assert means.loc[("net", "supcon"), "accuracy"] == pytest.approx(parts["accuracy"].mean())
    by_seed = parts.groupby("seed")["accuracy"].mean()
    assert means.loc[("net", "supcon"), "accuracy_sd"] == pytest.approx(by_seed.std())
    assert means.loc[("net", "supcon"), "seeds"] == 2
    assert means.loc[("lbp + JB", "classical"), "seeds"] == 1


def test_paired_tests_ask_every_question_with_both_seeds(run: Path, lfw: Path) -> None:
    lines, faces = stored_lines(run), load(lfw)
    people = faces.labels[faces.pairs]
    found = table.tests(lines, people)
    losses = found[found["family"] == "net: losses"].iloc[0]
    assert (losses["loss"], losses["against_loss"], losses["seeds"]) == ("supcon", "softmax", 2)
    means = table.summary(lines).set_index(["system", "loss"])["accuracy"]
    for row in found.to_dict("records"):
        expected = means[row["system"], row["loss"]] - means[row["against"], row["against_loss"]]
        assert row["value"] == pytest.approx(expected)
    assert (found["p_holm"] >= found["p"]).all()


def test_command_prints_the_table_and_writes_it(
    run: Path, lfw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facelearn.real_faces.experiment.Settings", lambda: SMALL)
    given = ["--folder", str(lfw), "--run", str(run), "--losses", *LOSSES, "--seeds", "2"]
    assert main([*given, "--csv", str(tmp_path / "table.csv")]) == 0
    printed = capsys.readouterr().out
    assert "supcon: features + JB" in printed
    assert "net: losses" in printed
    assert len(pd.read_csv(tmp_path / "table.csv")) == len(table.rows(stored_lines(run)))
    assert (tmp_path / "table_tests.csv").exists()
    assert main(["--losses", "no", "--folder", str(lfw)]) == 1
    assert "expected some of softmax" in capsys.readouterr().err


def test_orl_eer_is_zero_for_people_who_are_points() -> None:
    points = np.repeat(np.eye(5), 10, axis=0)
    assert orl_eer(points) == 0
    assert orl_eer(np.random.default_rng(0).normal(size=(400, 8))) == pytest.approx(0.5, abs=0.05)


def test_linear_heads_measure_each_loss(lfw: Path) -> None:
    faces = load(lfw)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(24, 40))[faces.labels] + 0.8 * rng.normal(size=(72, 40))
    found = linear_heads(faces, features, ["softmax", "supcon"], held_out=2, steps=20, dimensions=16)
    assert found["loss"].tolist() == ["none", "softmax", "supcon"]
    assert (found["every_eer"] < 0.35).all()  # chance is .5
    again = linear_heads(faces, features, ["supcon"], held_out=2, steps=20, dimensions=16)
    assert again["every_eer"].iloc[1] == found["every_eer"].iloc[2]
    with pytest.raises(ValueError, match=r"losses: \['no'\]"):
        linear_heads(faces, features, ["no"])
