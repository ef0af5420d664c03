"""Checkpoints of one process: what is in the files, and what is refused. Several ranks: `test_parallel.py`."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from facelearn import losses
from facelearn.losses.sharding import load_sharded, save_sharded
from tests.losses.sharding_checks import K, Run, assert_bits


def saved(path: Path, optimizer: str = "adamw") -> Run:
    run = Run(None, optimizer).train(range(2))
    save_sharded(path, run.module, run.optimizer, extra={"epoch": 2, "margin": 0.3})
    return run


def stored(path: Path) -> dict[str, torch.Tensor]:
    """As anyone can read them."""
    return {k: v for file in path.glob("shards-*/*.safetensors") for k, v in load_file(file).items()}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_was_written_comes_back(tmp_path, optimizer):
    run = saved(tmp_path, optimizer)
    other = Run(None, optimizer, seed=1)
    other.optimizer.param_groups[0]["lr"] = 9.0
    assert load_sharded(tmp_path, other.module, other.optimizer) == {"epoch": 2, "margin": 0.3}
    assert_bits(other.whole(), run.whole())
    groups = run.optimizer.state_dict()["param_groups"], other.optimizer.state_dict()["param_groups"]
    assert groups[0] == groups[1]
    assert_bits(other.train(range(2, 4)).whole(), run.train(range(2, 4)).whole())


def test_a_class_is_one_row_of_the_file(tmp_path):
    run = saved(tmp_path, "sgd")
    weight = run.head.weight.detach()
    files = stored(tmp_path)
    rows = files["module.loss.parts.0.weight"]
    momentum = files["optimizer.loss.parts.0.weight.momentum_buffer"]
    assert rows.shape == momentum.shape == (23, K * 8)
    for j, k in ((0, 0), (7, 2), (22, 1)):
        assert torch.equal(rows[j, 8 * k : 8 * k + 8], weight[j * K + k])
    assert torch.equal(files["module.net.bias"], run.module["net"].bias)


def test_nothing_in_it_is_pickled(tmp_path):
    saved(tmp_path)
    for file in (p for p in tmp_path.rglob("*") if p.is_file()):
        assert file.suffix in (".safetensors", ".json")
        json.loads(file.read_text()) if file.suffix == ".json" else load_file(file)


def test_a_state_without_its_optimizer_and_a_loss_alone(tmp_path):
    run = saved(tmp_path)
    other = Run(None, "sgd", seed=1)
    load_sharded(tmp_path, other.module)
    assert torch.equal(other.head.weight, run.head.weight)
    head, again = (losses.AdaFace(8, 5, momentum=0.5) for _ in range(2))
    head(torch.randn(4, 8), torch.arange(4))
    save_sharded(tmp_path / "head", head)
    assert load_sharded(tmp_path / "head", again) is None
    assert_bits(dict(again.state_dict()), dict(head.state_dict()))
    with pytest.raises(ValueError, match="optimizer=SGD: expected None, the checkpoint was written without one"):
        load_sharded(tmp_path / "head", again, torch.optim.SGD(again.parameters(), 0.1))


def test_the_last_one_counts(tmp_path):
    saved(tmp_path, "sgd")
    run = saved(tmp_path, "sgd").train(range(2, 3))
    save_sharded(tmp_path, run.module, run.optimizer)
    other = Run(None, "sgd", seed=1)
    assert load_sharded(tmp_path, other.module, other.optimizer) is None
    assert_bits(other.whole(), run.whole())
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interrupted_writing_leaves_the_older_one(tmp_path, monkeypatch):
    run = saved(tmp_path, "sgd")
    before = {name: value.clone() for name, value in run.whole().items()}

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("facelearn.files.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_sharded(tmp_path, run.train(range(2, 3)).module, run.optimizer)
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 2
    load_sharded(tmp_path, run.module, run.optimizer)
    assert_bits(run.whole(), before)


def test_what_json_cannot_hold_is_refused_before_writing(tmp_path):
    with pytest.raises(TypeError, match="complex"):
        save_sharded(tmp_path, losses.ArcFace(8, 5), extra=1j)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        save_sharded(tmp_path / "file", losses.ArcFace(8, 5))


def damage(path: Path, kind: str) -> None:
    (shard,) = path.glob("shards-*/*")
    index = path / "index.json"
    if kind == "bit":
        content = bytearray(shard.read_bytes())
        content[-9] ^= 4
        shard.write_bytes(content)
    elif kind == "cut":
        shard.write_bytes(shard.read_bytes()[:-100])
    elif kind == "gone":
        shard.unlink()
    elif kind == "more":
        save_file({"module.net.bias": torch.zeros(8)}, shard.with_name("shard-00002-model-00001-of-00001.safetensors"))
    elif kind == "index":
        index.write_text(index.read_text()[:-5])
    elif kind == "elsewhere":
        index.write_text(index.read_text().replace("shards-", "../shards-"))
    elif kind == "newer":
        index.write_text(json.dumps(json.loads(index.read_text()) | {"format": 99}))
    elif kind == "none":
        index.unlink()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("bit", "damaged: expected content that matches its hash"),
        ("cut", "damaged: expected content that matches its hash"),
        ("gone", "damaged, 0 of its files: expected all 1"),
        ("more", "damaged"),
        ("index", "index.json=damaged"),
        ("elsewhere", "expected format 1 with its files beside it"),
        ("newer", "=format 99, .*expected format 1 "),
        ("none", "found no index.json"),
    ],
)
def test_damaged_files_are_refused_and_nothing_is_changed(tmp_path, kind, told):
    saved(tmp_path)
    damage(tmp_path, kind)
    other = Run(None, "adamw", seed=1).train(range(1))
    before = {name: value.clone() for name, value in other.whole().items()}
    with pytest.raises(ValueError, match=told):
        load_sharded(tmp_path, other.module, other.optimizer)
    assert_bits(other.whole(), before)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda run: (run.module["loss"], None), "module=loss.parts.0.weight missing"),
        (lambda run: (run.module.float(), None), r"float32: expected, as in .*float64"),
        (lambda run: (nn.ModuleDict({**run.module, "loss": losses.ArcFace(8, 23).double()}), None), "missing"),
        (lambda run: (run.module, torch.optim.SGD(run.module.parameters(), 0.1)), "optimizer=.*SGD.*AdamW"),
        (lambda run: (run.module, torch.optim.AdamW(run.module["net"].parameters())), "optimizer="),
        (lambda run: (run.module, torch.optim.AdamW(nn.Linear(2, 2).parameters())), "of parameters from elsewhere"),
    ],
    ids=["part", "dtype", "other loss", "other optimizer", "other parameters", "foreign parameters"],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, make, told):
    saved(tmp_path)
    module, optimizer = make(Run(None, "adamw", seed=1).train(range(1)))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=told):
        load_sharded(tmp_path, module, optimizer)
    assert_bits(dict(module.state_dict()), before)


def test_state_that_cannot_be_cut_up_is_refused(tmp_path):
    head = losses.ArcFace(8, 5)
    optimizer = torch.optim.SGD(head.parameters(), 0.1)
    optimizer.state[head.weight]["columns"] = torch.zeros(8)
    with pytest.raises(ValueError, match=r"optimizer\.weight\.columns=.*to cut up by classes"):
        save_sharded(tmp_path, head, optimizer)
