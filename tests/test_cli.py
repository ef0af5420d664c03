"""The command line: what it writes, what it refuses, and that a killed run goes on as if nothing had happened."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from torch import nn

from facelearn import cli, comparing, losses, models, nets, runs
from facelearn.data import SyntheticFaces, standard
from facelearn.data.named import strangers
from facelearn.training import ShiftAndGain, embed, fit, seed_everything
from facelearn.verification import all_pairs, evaluate_pairs
from facelearn.words import parse

FEW = "synthetic:identities=8,images_per_identity=6,seed=3"
SMALL = ["--data", FEW, "--batch-size", "16", "--width", "2", "--dim", "8", "--eval-every", "0"]


def run(*arguments: Any) -> int:
    return cli.main([str(a) for a in arguments])


def train(folder: Path, *more: Any, loss: str = "arcface:scale=8,margin=0.3", epochs: int = 2) -> int:
    return run("train", "--run", folder, "--loss", loss, "--epochs", epochs, *SMALL, *more)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def losses_of(folder: Path) -> list[float]:
    return [float(row["loss"]) for row in rows(folder)]


# ---- train


def test_a_run_is_the_training_that_fit_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run") == 0
    assert "epoch 2/2   loss" in capsys.readouterr().out
    faces = standard("fit", identities=8, images_per_identity=6, seed=3)
    seed_everything(0)
    net = models.SmallFaceNet(8, width=2)
    loss = losses.ArcFace(8, 8, scale=8, margin=0.3)
    records = fit(net, loss, faces, epochs=2, batch_size=16, augment=ShiftAndGain())
    assert losses_of(tmp_path / "run") == [r["loss"] for r in records]
    found = runs.load(tmp_path / "run").state_dict()
    assert all(torch.equal(value, found[key]) for key, value in net.state_dict().items())
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())[1]["epoch"] == 2
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["batch_size"] == 16
    assert config["begun_with"]["torch"] == torch.__version__
    assert (tmp_path / "run" / "figures" / "loss.png").read_bytes()[:4] == b"\x89PNG"


def few_strangers(words: str, split: str) -> SyntheticFaces:
    """Instead of the standard sets, which take a while."""
    return standard(split, identities=12, images_per_identity=6, seed=parse(words, "")[1]["seed"])


def test_strangers_are_measured_during_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert strangers("synthetic:identities=8,difficulty=0.6", "tune").images.shape == (1000, 3, 32, 32)
    monkeypatch.setattr(runs, "strangers", few_strangers)
    words = [*SMALL[:-2], "--eval-every", 2]  # of three epochs: after the second and the last
    assert run("train", "--run", tmp_path / "run", "--epochs", 3, *words) == 0
    told = [row["tune_eer"] for row in rows(tmp_path / "run")]
    assert told[0] == ""
    assert float(told[1]) > 0

    def eer(split: str) -> float:
        people = few_strangers(FEW, split)
        return evaluate_pairs(embed(runs.load(tmp_path / "run"), people), *all_pairs(people.labels)).eer

    assert float(told[2]) == eer("tune")
    measured = json.loads((tmp_path / "run" / "evaluation_open.json").read_text())
    assert measured["numbers"]["eer"]["value"] == eer("open")
    assert (tmp_path / "run" / "figures" / "roc_open.png").exists()


def test_a_finished_run_is_not_repeated_and_other_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    train(folder)
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name.startswith("checkpoint")}
    assert train(folder) == 0
    assert run("train", "--run", folder, "--resume") == 0
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name.startswith("checkpoint")} == before
    capsys.readouterr()
    for arguments, told in (
        ([*SMALL, "--lr", "0.1"], r"holds a run of other settings \(loss: .*lr: 0.004 there, 0.1 here"),
        (["--resume", "--seed", "4"], "--seed: differ from the run"),
    ):
        assert run("train", "--run", folder, *arguments) == 2
        assert re.search(told, capsys.readouterr().err)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    assert train(tmp_path / "other") == 2
    assert "holds no config.json" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["letter.txt"]
    assert run("train", "--run", tmp_path / "nowhere", "--resume") == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--loss", "arcfase"], "loss: 'arcfase'; expected one of softmax, normface"),
        (
            ["--loss", "arcface:margn=1"],
            "arcface has no margn; expected some of beyond_pi, detach_margin, ignore_label, label_smoothing, margin",
        ),
        (["--loss", "arcface:scale"], "loss: 'scale' in 'arcface:scale'; expected name=value"),
        (["--loss", "arcface:scale=-1"], "scale=-1: expected a positive number"),
        (["--loss", "2**center"], "expected STEM:name=value,... or WEIGHT"),
        (["--data", "synthetic:people=3"], "data: found people in 'synthetic:people=3'; expected some of cache"),
        (["--data", "imagenet"], "data: 'imagenet'; expected synthetic"),
        (["--data", "recordio:nowhere.rec"], "nowhere.rec"),
        (["--data", "folder:"], "expected folder:PATH"),
        (["--batch-size", "4000"], "batch_size: 4000; but data has only 48 images"),
        (["--net", "digit"], r"images: shape .* expected \(B, 1, H, W\)"),
        (["--net", "iresnet18", "--data", "synthetic:identities=2,images_per_identity=8,size=40"], "size: 40"),
        (["--class-parallel"], "needs several processes; start with torchrun"),
        (["--pk", "4", "40"], "pk: 40 images of each person; 8 have fewer: person 0 \\(6\\)"),
        (["--norm", "group", "--epochs", "0"], "epochs: 0"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_nothing(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", "--run", tmp_path / "run", *SMALL, *arguments) == 2
    captured = capsys.readouterr()
    assert re.search(told, captured.err), captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_wrong_words_end_with_2_and_divergence_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run("train", "--rum", "x")
    assert caught.value.code == 2
    assert train(tmp_path / "run", "--lr", "1e30", epochs=5) == 1
    assert "the training diverged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--loss", "arcface:scale=abc"], "scale='abc': expected a positive number"),
        (["--loss", "arcface:margin=none"], "margin=None: expected radians"),
        (["--loss", "softmax+0.01*ring:start=2"], "start=2"),
        (["--data", "synthetic:name=fit"], "found name"),
        (["--eval-every", "-2"], "eval_every: -2"),
        (["--recipes", "{tmp}/none.json", "--loss", "arcface"], "none.json"),
        (["--recipes", "{tmp}/bad.json", "--loss", "arcface"], "bad.json: recipe: found no arguments; expected loss"),
        (
            ["--recipes", "{tmp}/bad.json", "--loss", "cosface"],
            "bad.json: loss: cosface has no margn; expected",
        ),
        (["--recipes", "{tmp}/worse.json", "--loss", "arcface"], "worse.json is damaged"),
        (["--recipes", "{tmp}/bad.json", "--loss", "arcface", "--set", "scale=8"], "expected --loss STEM"),
        (["--recipes", "{tmp}/bad.json"], "with the loss none"),
    ],
)
def test_unusable_words_are_one_line(
    given: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {"arcface": {"loss": "arcface"}, "cosface": {"loss": "cosface", "arguments": {"margn": 0.2}}}
    (tmp_path / "bad.json").write_text(json.dumps({"losses": bad}))
    (tmp_path / "worse.json").write_text("{")
    words = [word.format(tmp=tmp_path) for word in given]
    assert run("train", "--run", tmp_path / "run", *words) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", ["synthetic:foo=3", "synthetic:split=fit"])
def test_unknown_words_of_the_measured_set_are_one_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "--weights", "arcface", "--on", words) == 2
    assert capsys.readouterr().err.startswith("facelearn evaluate: error: --on: found")


@pytest.mark.parametrize(("name", "value"), [("lr", "x"), ("loss", 3), ("data", None), ("seed", None), ("pk", [4])])
def test_settings_of_another_kind_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"settings: {name} "):
        runs.Settings.of({name: value})
    assert runs.Settings.of({"lr": 1, "pk": [4, 3], "size": 48}).pk == (4, 3)


@pytest.mark.parametrize("content", [b"{}", b"null", b"[1]", b"[{}]", b'[{"epoch": "1"}]', b"\xff\xfe"])
def test_damaged_metrics_count_as_lost(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_bytes(content)
    assert runs._rows(tmp_path) == []


def test_what_a_kill_within_the_first_write_leaves_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.abc").write_text("{")
    assert train(tmp_path / "run", epochs=1) == 0


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert "facelearn compare --losses" in capsys.readouterr().out
    for command in ("train", "evaluate", "compare", "render"):
        with pytest.raises(SystemExit) as caught:
            run(command, "--help")
        assert caught.value.code == 0
        told = capsys.readouterr().out
        assert "examples:" in told
        assert told.count(f"facelearn {command}") >= 3
        assert max(map(len, told.splitlines())) <= 120
        if command == "train":
            assert all(stem in told for stem in losses.REGISTRY)


SHOWN = ["README.md", "README.zh.md", "course/en/01_verification.md", "course/zh/01_verification.md",
         "course/site/pages/en/data.md", "course/site/pages/zh/data.md"]  # fmt: skip


@pytest.mark.parametrize("page", SHOWN)
def test_the_commands_that_readers_are_shown_are_understood(page: str) -> None:
    text = (Path(__file__).parents[1] / page).read_text(encoding="utf-8")
    shown = re.findall(r"^facelearn (?!.*--data lfw)([^#\n]+)|`facelearn ([^`\n]+)`", text, re.MULTILINE)
    commands = [shlex.split(line or inline) for line, inline in shown if "--help" not in inline]
    assert len(commands) >= 5
    for words in commands:
        options = cli.make_parser().parse_args(words)  # which ends the process where it does not understand
        if options.command == "evaluate":
            cli._check_fitting(options, options.on.partition(":")[0])


def test_recipes_and_pair_batches(tmp_path: Path) -> None:
    recipe = {"loss": "triplet", "arguments": {"margin": 0.4, "mining": "semi-hard"},
              "batches": {"identities_per_batch": 4, "images_per_identity": 3}}  # fmt: skip
    (tmp_path / "recipes.json").write_text(json.dumps({"losses": {"triplet": recipe}}))
    assert train(tmp_path / "run", "--recipes", tmp_path / "recipes.json", loss="triplet", epochs=1) == 0
    stored = runs.config(tmp_path / "run")
    assert (stored.loss, stored.pk) == ("triplet:margin=0.4,mining=semi-hard", (4, 3))
    assert int(rows(tmp_path / "run")[0]["steps"]) == 4  # 8 people x 2 groups of 3, 4 people a batch


# ---- killed, and started by torchrun


def start(command: list[str]) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def kill_after_epochs(process: subprocess.Popen[str], folder: Path, epochs: int) -> None:
    """SIGKILL to the process and what it started, once so many epochs are in the metrics."""
    psutil = pytest.importorskip("psutil")  # comes with ipykernel
    for _ in range(2400):
        if (folder / "metrics.csv").exists() and len(rows(folder)) >= epochs:
            break
        if process.poll() is not None:
            pytest.fail(f"ended by itself: {process.stderr and process.stderr.read()}")
        time.sleep(0.05)
    everyone = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    for pid in everyone:  # torchrun's workers have sessions of their own, and would go on without it
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(60)
    if process.stderr:
        process.stderr.close()


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    words = ["--run", str(tmp_path / "run"), "--loss", "arcface:scale=8,margin=0.3", "--epochs", "25", *SMALL]
    process = start([sys.executable, "-m", "facelearn", "train", *words])
    kill_after_epochs(process, tmp_path / "run", 3)
    done = len(rows(tmp_path / "run"))
    assert 3 <= done < 25
    kept = tmp_path / "run" / "checkpoint.safetensors"
    assert len(json.loads(_header(kept))["records"]) in (done - 1, done)
    assert run("train", *words[:4], "--epochs", "25", *SMALL, "--resume") == 0
    assert train(tmp_path / "straight", epochs=25) == 0
    straight, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("straight", "run"))
    assert all(torch.equal(value, resumed[key]) for key, value in straight.items())
    assert losses_of(tmp_path / "run") == losses_of(tmp_path / "straight")


def _header(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        return file.metadata()["facelearn"]


def torchrun(words: list[str]) -> list[str]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--nnodes", "1"]
    return [*launcher, "--master-addr", "127.0.0.1", "--master-port", str(port), "-m", "facelearn", "train", *words]


def test_torchrun_killed_and_resumed_is_one_process(tmp_path: Path) -> None:
    same = ["--norm", "group", "--float64", "--epochs", "16"]
    words = ["--run-folder", str(tmp_path / "two"), "--loss", "arcface:scale=8,margin=0.3", *SMALL, *same]
    process = start(torchrun(words))
    kill_after_epochs(process, tmp_path / "two", 2)
    done = len(rows(tmp_path / "two"))
    assert 2 <= done < 16
    time.sleep(1)
    assert len(rows(tmp_path / "two")) == done  # nobody is left who goes on
    process = start(torchrun(words))
    _, problem = process.communicate(timeout=300)
    assert process.returncode == 0, problem
    assert train(tmp_path / "one", "--norm", "group", "--float64", epochs=16) == 0
    assert losses_of(tmp_path / "two") == pytest.approx(losses_of(tmp_path / "one"), rel=1e-6)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-5, atol=1e-6)


# ---- evaluate


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert train(folder) == 0
    return folder


def test_evaluate_measures_what_scikit_learn_does(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "--run", finished, "--on", "synthetic:identities=25,seed=901", "--resamples", 20) == 0
    told = capsys.readouterr().out
    found = json.loads((finished / "evaluation_synthetic.json").read_text())
    assert (finished / "figures" / "roc_synthetic.png").exists()
    faces = SyntheticFaces(25, 10, 32, seed=901, split="open")
    x = nn.functional.normalize(embed(runs.load(finished), faces).double())
    i, j = np.triu_indices(len(x), 1)
    same = (faces.labels[i] == faces.labels[j]).numpy()
    assert found["numbers"]["auc"]["value"] == pytest.approx(roc_auc_score(same, (x @ x.T)[i, j].numpy()), abs=1e-9)
    assert (found["genuine"], found["impostor"]) == (same.sum(), (~same).sum())
    cell = found["numbers"]["eer"]
    assert cell["low"] < cell["value"] < cell["high"]
    assert f"{cell['value']:.2%}" in told
    assert run("evaluate", "--weights", finished / "model.safetensors", "--on", "synthetic:identities=25,seed=901",
               "--resamples", 0, "--flip") == 0  # fmt: skip
    assert "95 %" not in capsys.readouterr().out


def test_evaluate_on_a_list_of_pairs_in_the_format_of_lfw(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Drawn faces in LFW's layout: 2 folds of 3 + 3 pairs."""
    from PIL import Image

    faces = SyntheticFaces(6, 4, 48, seed=5, split="open")
    for image, person, shot in zip(faces.images, faces.labels.tolist(), faces.shots.tolist(), strict=True):
        path = tmp_path / "lfw" / f"P_{person}" / f"P_{person}_{shot + 1:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    lines = ["2\t3"]
    for fold in (0, 3):
        lines += [f"P_{fold + k}\t1\t{k + 2}" for k in range(3)]
        lines += [f"P_{fold + k}\t2\tP_{fold + (k + 1) % 3}\t3" for k in range(3)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    on = ["--on", "lfw", "--pairs", tmp_path / "pairs.txt", "--images", tmp_path / "lfw", "--out", tmp_path / "out"]
    assert run("evaluate", "--run", finished, *on) == 0
    found = json.loads((tmp_path / "out" / "evaluation_lfw.json").read_text())
    assert (found["genuine"], found["impostor"]) == (6, 6)
    assert 0 <= found["numbers"]["accuracy"]["value"] <= 1
    assert run("evaluate", "--run", finished, "--on", "lfw") == 2
    assert "expected --pairs FILE and --images" in capsys.readouterr().err


def test_evaluate_refuses_what_is_no_net(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "noise").write_bytes(b"12345678" * 9)
    content = (finished / "model.safetensors").read_bytes()
    (tmp_path / "short").write_bytes(content[:-9])
    for arguments, told in (
        (["--weights", tmp_path / "noise"], "is damaged, or no net"),
        (["--weights", tmp_path / "short"], "is damaged, or no net"),
        (["--weights", finished / "checkpoint.safetensors"], "is damaged, or no net"),
        (["--weights", "resnet"], "'resnet'; expected a file, or one of"),
        (["--run", tmp_path], "holds no config.json"),
        (["--run", finished, "--on", "moon"], "--on: 'moon'"),
    ):
        assert run("evaluate", *arguments) == 2
        assert told in capsys.readouterr().err


# ---- compare and render


def test_compare_pairs_by_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "strangers", few_strangers)
    words = ["compare", "--losses", "softmax", "arcface:scale=8,margin=0.3", "--seeds", 2, "--out", tmp_path,
             "--data", FEW, "--epochs", 1, "--batch-size", 16, "--width", 2]  # fmt: skip
    assert run(*words) == 0
    told = capsys.readouterr().out
    with open(tmp_path / "comparison.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [(r["loss"].partition(":")[0], r["seed"]) for r in table] == [
        (loss, seed) for seed in ("100", "101") for loss in ("softmax", "arcface")
    ]
    assert runs.config(tmp_path / "softmax-101").data.endswith("seed=101")
    for row in table:
        folder = next(tmp_path.glob(f"{row['loss'].partition(':')[0]}*-{row['seed']}"))
        strange = few_strangers(f"synthetic:seed={row['seed']}", "open")
        eer = evaluate_pairs(embed(runs.load(folder), strange), *all_pairs(strange.labels)).eer
        assert float(row["eer"]) == pytest.approx(eer)
    difference = [100 * (float(table[i + 1]["eer"]) - float(table[i]["eer"])) for i in (0, 2)]
    assert f"{np.mean(difference):+.2f} ± {12.706 * np.std(difference, ddof=1) / 2**0.5:.2f}"[:6] in told
    assert run(*words) == 0  # from what is there
    assert capsys.readouterr().out.split("mean over")[1] == told.split("mean over")[1]
    both = [tmp_path / "softmax-100", tmp_path / "softmax-101"]
    assert run("compare", "--runs", *both, "--on", "synthetic:identities=12", "--resamples", 20) == 0
    assert "by a bootstrap of people shared by both" in capsys.readouterr().out
    assert run(*words[:6], "--data", "digits", "--out", tmp_path) == 2
    capsys.readouterr()
    for last, told in (("arcface:margn=1", "arcface has no margn"), ("arcface:scale=-1", "scale=-1")):
        assert run("compare", "--losses", "softmax", last, "--out", tmp_path / "new") == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "new").exists()  # said before the first loss was trained


def test_render_exports_and_draws_sheets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["render", "--identities", 3, "--images", 2, "--size", 32, "--seed", 4]
    assert run(*words, "--out", tmp_path / "faces", "--sheet", tmp_path / "sheet.png") == 0
    assert len(list((tmp_path / "faces").glob("*/*.png"))) == 6
    assert (tmp_path / "sheet.png").exists()
    assert run(*words, "--out", tmp_path / "faces") == 2
    assert run(*words) == 2
    assert "expected a folder, a file, or both" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--data", "folder:none", "--run", "none/run"],
        ["evaluate", "--weights", "none", "--on", "folder:none", "--out", "none/report"],
        ["evaluate", "--weights", "none", "--out", "none/report"],
        ["evaluate", "--run", "none/run"],
        ["compare", "--losses", "none", "--out", "none/runs"],
        ["compare", "--losses", "none", "--out", "none/runs/compare"],
        ["compare", "--data", "lfw", "--folder", "none", "--run", "none/runs"],
        ["export", "--weights", "none", "--out", "none/net.onnx"],
        ["render", "--size", "7", "--out", "none/faces"],
        ["render", "--size", "7", "--sheet", "none/sheet.png"],
    ],
    ids=" ".join,
)
def test_a_folder_that_is_to_hold_the_result_must_be_there(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What else is wrong would have shown first, had any work been done."""
    monkeypatch.chdir(tmp_path)
    assert run(*command) == 2
    told = capsys.readouterr()
    option, path = command[-2:]
    parent = str(Path(path).parent)
    expected = f"{option.removeprefix('--') if command[0] == 'train' else option}={path}: found no folder {parent}"
    assert told.err == f"facelearn {command[0]}: error: {expected}, expected it to be there\n"
    assert told.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder_is_named_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").touch()
    assert run("evaluate", "--weights", "none", "--out", "there") == 2
    assert capsys.readouterr().err == "facelearn evaluate: error: --out=there: found a file, expected a folder\n"


def test_a_folder_for_results_is_made_and_so_is_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(Path("runs/one"), epochs=1) == 0
    assert run("evaluate", "--run", "runs/one", "--on", FEW, "--resamples", 0, "--out", "new") == 0
    assert Path("new/report_synthetic.html").exists()
    assert run("compare", "--losses", "softmax", "--seeds", 1, "--epochs", 1, "--out", "other", *SMALL) == 0
    assert Path("other/comparison.csv").exists()


def test_the_command_is_installed_under_its_name() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"facelearn": "facelearn.cli:main"}


def test_images_on_disk_train_and_insightface_pairs_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Export, train on the folder and on a record file of the same images, measure on a `.bin`: all on 8 people."""
    import io
    import pickle

    from PIL import Image

    from facelearn.data import write_recordio

    assert run("render", "--identities", 8, "--images", 6, "--size", 32, "--seed", 3, "--out", tmp_path / "faces") == 0
    files = sorted((tmp_path / "faces").glob("*/*.png"))
    write_recordio(tmp_path / "train.rec", [(int(p.parent.name), p.read_bytes()) for p in files], identities=True)
    common = ["--loss", "arcface:scale=8,margin=0.3", "--epochs", 1, "--batch-size", 16, "--width", 2]
    for name, data in (("a", f"folder:{tmp_path / 'faces'}"), ("b", f"recordio:{tmp_path / 'train.rec'}")):
        assert run("train", "--run", tmp_path / name, "--data", data, *common) == 0
    assert run("train", "--run", tmp_path / "c", "--data", FEW, *common) == 0
    assert losses_of(tmp_path / "a") == losses_of(tmp_path / "b") == losses_of(tmp_path / "c")  # the same pixels
    assert run("train", "--run", tmp_path / "d", "--data", f"folder:{tmp_path / 'faces'}", "--size", 40, *common) == 0
    assert nets.image_size(runs.model_file(tmp_path / "d")) == 40

    encoded, same = [], []
    for i in range(0, 40, 2):
        pair = (files[i], files[i + 1] if i % 4 else files[(i + 6) % 48])
        same.append(pair[0].parent == pair[1].parent)
        for path in pair:
            content = io.BytesIO()
            Image.open(path).save(content, "PNG")
            encoded.append(content.getvalue())
    (tmp_path / "pairs.bin").write_bytes(pickle.dumps((encoded, same)))
    capsys.readouterr()
    assert run("evaluate", "--run", tmp_path / "a", "--on", f"bin:{tmp_path / 'pairs.bin'}", "--flip") == 0
    found = json.loads((tmp_path / "a" / "evaluation_pairs.json").read_text())
    assert found["genuine"] == sum(same)
    assert "low" not in found["numbers"]["auc"]  # who it is is not in the file, so there is no interval over people
    assert run("evaluate", "--run", tmp_path / "a", "--on", f"bin:{files[0]}") == 2


def test_digits_train_and_the_experiment_on_real_faces_has_its_own_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", "digits", "--net", "digit", "--dim", 2, "--loss", "softmax", "--epochs", 2, "--no-augment"]
    assert run("train", "--run", tmp_path / "digits", *words) == 0
    assert losses_of(tmp_path / "digits")[1] < losses_of(tmp_path / "digits")[0]
    pytest.importorskip("skimage")
    for words in (["--data", "lfw", "--help"], ["--help", "--data=lfw"]):
        with pytest.raises(SystemExit) as caught:
            run("compare", *words)
        assert caught.value.code == 0
        assert "usage: facelearn compare --data lfw" in capsys.readouterr().out
    assert run("compare", "--data", "lfw", "--losses", "softmax", "no", "--run", tmp_path / "lfw") == 2
    told = capsys.readouterr().err
    assert told.startswith("facelearn compare: error: losses, seeds: losses ['no']; expected some of softmax")
    assert told.count("\n") == 1
