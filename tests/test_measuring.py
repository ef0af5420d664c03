"""What a net is measured on: which people, which way up, which file it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from facelearn import cli, measuring, runs
from facelearn.comparing import compare_runs
from facelearn.data import ImageSet, SyntheticFaces, named, standard
from facelearn.measuring import evaluate, numbers
from facelearn.training import best_device
from facelearn.verification import all_pairs, evaluate_pairs, evaluate_scores, fold_pairs


class Pixels(nn.Module):
    """Four corners of an image as its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        corners = [images[:, 0, y, x] for y in (0, -1) for x in (0, -1)]
        return torch.stack(corners, 1) * self.one + 1.5


def test_flip_adds_the_mirror_image_which_stands_upright() -> None:
    generator = torch.Generator().manual_seed(0)
    data = ImageSet(
        torch.randint(0, 256, (40, 1, 6, 5), generator=generator, dtype=torch.uint8),
        torch.arange(10).repeat_interleave(4),
    )
    top_left, top_right, low_left, low_right = Pixels()(data.images / 127.5 - 1).unbind(1)
    both = torch.stack([top_left + top_right, top_right + top_left, low_left + low_right, low_right + low_left], 1)
    expected = evaluate_pairs(both, *all_pairs(data.labels))
    found = evaluate(Pixels(), data, flip=True)
    assert found.eer == pytest.approx(expected.eer)
    assert found.auc == pytest.approx(expected.auc, abs=1e-6)
    assert found.auc != pytest.approx(evaluate(Pixels(), data).auc, abs=1e-3)
    on_disk = [(image / 127.5 - 1, 0) for image in data.images]
    with pytest.raises(ValueError, match=r"flip: list has no \.images; expected a set in memory"):
        evaluate(Pixels(), on_disk, flip=True)


@pytest.mark.parametrize("split", ["tune", "open"])
def test_strangers_are_as_large_and_hard_as_the_faces_trained_on(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(named, "standard", lambda name, **changes: asked.append((name, changes)))
    named.strangers("synthetic:identities=8,images_per_identity=3,difficulty=0.9,size=48,seed=7,kinship=0.2", split)
    named.strangers("synthetic", split)
    assert asked == [(split, {"difficulty": 0.9, "size": 48, "seed": 7}), (split, {})]
    assert named.strangers("digits", split) is None


def test_all_pairs_have_no_accuracy_and_balanced_ones_do() -> None:
    labels = torch.arange(20).repeat_interleave(3)
    embeddings = torch.eye(20)[labels]
    assert "accuracy" not in numbers(evaluate_pairs(embeddings, *all_pairs(labels), identities=labels))["numbers"]
    pairs, same, folds = fold_pairs(labels, per_fold=6)
    balanced = evaluate_pairs(embeddings, pairs, same, folds=folds)
    assert numbers(balanced, resamples=0)["numbers"]["accuracy"]["value"] == 1


def test_pairs_that_folds_of_people_leave_unbalanced_have_no_accuracy() -> None:
    """As many impostor pairs as genuine ones, but nine of ten are lost to the folds: calling everyone one is right."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 3)
    genuine = np.concatenate([[[3 * k, 3 * k + 1], [3 * k, 3 * k + 2], [3 * k + 1, 3 * k + 2]] for k in range(40)])
    steps = [(k, i, (1, 8, 10 if k < 12 else 15)[i]) for k in range(40) for i in range(3)]
    impostor = np.array([[3 * k + i, 3 * ((k + step) % 40) + i] for k, i, step in steps])
    pairs, same = np.concatenate([genuine, impostor]), np.repeat([True, False], 120)
    scores = rng.normal(size=240) + same
    known = evaluate_scores(scores, pairs, same, identities=labels)
    assert known.accuracy > 0.85
    assert known.eer > 0.25
    assert "accuracy" not in numbers(known, resamples=0)["numbers"]
    assert 0.6 < numbers(evaluate_scores(scores, same), resamples=0)["numbers"]["accuracy"]["value"] < 0.8


def test_each_run_is_measured_at_the_size_it_was_trained_on(tmp_path: Path) -> None:
    def target(size: int) -> tuple[str, SyntheticFaces]:
        return "strangers", standard("open", identities=12, images_per_identity=4, size=size)

    alone, said = {}, []
    for size in (32, 48):
        data = f"synthetic:identities=6,images_per_identity=4,size={size}"
        settings = runs.Settings(data=data, width=2, dim=8, epochs=1, batch_size=8, eval_every=0)
        runs.train(tmp_path / str(size), settings, progress=False, say=said.append)
        alone[str(tmp_path / str(size))] = evaluate(runs.load(tmp_path / str(size)), target(size)[1])
    folders = [tmp_path / "48", tmp_path / "32"]
    found = compare_runs(folders, target, resamples=5, say=said.append)
    assert list(found) == list(map(str, folders))
    for folder, result in alone.items():
        assert found[folder].auc == result.auc
    assert any("48 on strangers at 48 pixels: " in line for line in said)
    assert any("32: eer" in line or ("32: " in line and "not available" not in line) for line in said)


@pytest.mark.parametrize("device", ["nowhere", "cuda:77"])
def test_a_device_that_is_not_there_is_one_line_and_leaves_nothing(
    device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    commands = (["train", "--run", folder], ["evaluate", "--weights", "arcface"], ["compare", "--losses", "softmax"])
    for command, *words in commands:
        out = ["--out", folder] if command == "compare" else []
        assert cli.main([str(word) for word in (command, *words, *out, "--device", device)]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"facelearn {command}: error: device: '{device}' cannot be used here")
        assert told.count("\n") == 1
    assert not folder.exists()


def test_cuda_is_used_where_there_is_one_unless_another_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert best_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert best_device("cpu").type == "cpu"
    asked = []
    monkeypatch.setattr(measuring, "embed", lambda net, images, device: asked.append(device) or torch.rand(8, 3))
    data = ImageSet(torch.zeros(8, 1, 4, 4, dtype=torch.uint8), torch.arange(4).repeat(2))
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        evaluate(Pixels(), data, flip=True)
    evaluate(Pixels(), data, device="cpu")
    assert [device.type for device in asked] == ["cuda", "cuda", "cpu", "cpu", "cpu"]
