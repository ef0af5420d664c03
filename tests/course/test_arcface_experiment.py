"""The arms of chapter 12's experiment are what their names say, and the stored table holds all of them."""

import json
import runpy
from pathlib import Path

import torch
import torch.nn.functional as F
from experiments import arcface as experiment

from facelearn.lesson import settings_hash

COURSE = Path(__file__).resolve().parents[2] / "course"


def test_the_detached_arm_has_arcfaces_value_and_cosfaces_slope():
    margin, cos = experiment.MARGIN, torch.linspace(-0.6, 0.9, 9)
    heads = [experiment.train(experiment.setting(stem, margin=margin), 0, "smoke").loss for stem in LOSSES]
    values, slopes = [], []
    for head in heads:
        c = cos.clone().requires_grad_()
        values.append(head.target(c, ()))
        slopes += torch.autograd.grad(values[-1].sum(), c)
    torch.testing.assert_close(values[1], (cos.acos() + margin).cos())
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(slopes[1], slopes[2])
    assert not F.mse_loss(slopes[1], slopes[0]) < 0.01


LOSSES = ("arcface", "arcface_detached", "cosface")


def test_scale_and_margins_are_those_of_the_one_file_of_settings():
    chosen, file = experiment.SETTINGS["chosen"], json.loads((COURSE / "settings.json").read_text(encoding="utf-8"))
    assert chosen == {loss: file["losses"][loss]["arguments"] for loss in ("normface", "arcface", "cosface")}
    assert {arguments["scale"] for arguments in chosen.values()} == {experiment.SCALE}  # "at fixed scale" needs one
    for part in ("data", "net", "training"):
        assert experiment.SETTINGS[part] == file[part]


def test_a_margin_chosen_anew_makes_the_stored_table_stale(tmp_path, monkeypatch):
    file = json.loads((COURSE / "settings.json").read_text(encoding="utf-8"))
    file["losses"]["arcface"]["arguments"]["margin"] = 0.5
    (tmp_path / "settings.json").write_text(json.dumps(file), encoding="utf-8")
    monkeypatch.setattr(experiment.protocol, "CHOSEN", tmp_path / "settings.json")
    anew = runpy.run_path(experiment.__file__)
    assert anew["MARGIN"] == 0.5
    assert settings_hash(anew["SETTINGS"]) != settings_hash(experiment.SETTINGS)


def test_the_chosen_settings_are_the_best_of_the_search():
    found = experiment.searched()
    best = found.loc[found.groupby("loss")["EER %"].idxmin()]
    assert list(found.index[found[""] == "chosen"]) == sorted(best.index)
    assert set(best["loss"]) == {"normface", "arcface", "cosface"}
