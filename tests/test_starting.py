"""Training from one's own folder: what is told, who has too few images, mirrored images, and where it starts from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from facelearn import cli, losses, models, runs
from facelearn.data import SyntheticFaces
from facelearn.distributed import Shard
from facelearn.starting import Start
from facelearn.training import Mirror, ShiftAndGain

SMALL = [
    "--width",
    "2",
    "--dim",
    "8",
    "--size",
    "32",
    "--epochs",
    "1",
    "--batch-size",
    "8",
    "--loss",
    "normface:scale=8",
]


def run(*arguments: Any) -> int:
    return cli.main([str(a) for a in arguments])


def draw(folder: Path, people: dict[str, int]) -> Path:
    """A folder of drawn people: how many images of each name."""
    faces = SyntheticFaces(len(people), max(people.values()), 32, seed=8)
    for number, (name, images) in enumerate(people.items()):
        (folder / name).mkdir(parents=True)
        for shot in range(images):
            image = faces.images[(faces.identities == number) & (faces.shots == shot)][0]
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / name / f"{shot}.png")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on Ada, Bo and Cy, with what stands beside the images."""
    folder = tmp_path_factory.mktemp("base")
    people = draw(folder / "people", {"Ada": 6, "Bo": 5, "Cy": 6})
    (people / "notes.txt").write_text("")
    (people / "Dee").mkdir()
    (people / "Bo" / "list.csv").write_text("")
    (people / "Bo" / "raw").mkdir()
    (people / ".hidden").mkdir()
    assert run("train", "--run", folder / "run", "--data", f"folder:{people}", *SMALL) == 0
    return folder


def test_what_is_trained_on_is_told(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "--run", tmp_path / "run", "--data", f"folder:{base / 'people'}", *SMALL) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "17 images of 3 people, 5 to 6 of each"
    others = "notes.txt (beside the folders), Bo/list.csv (no image), Bo/raw (a folder within), Dee/ (no image in it)"
    assert told[1] == f"passed over: {others}"
    assert json.loads((tmp_path / "run" / "people.json").read_text()) == ["Ada", "Bo", "Cy"]


@pytest.mark.parametrize(
    ("small", "told"),
    [
        ("drop", "fewer than 4 images: Bo (3), Cy (1), Dee (2); 3 left out, 0 repeated"),
        ("repeat", "fewer than 4 images: Bo (3), Cy (1), Dee (2); 1 left out, 2 repeated"),
    ],
)
def test_people_with_too_few_images_are_named(
    small: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = draw(tmp_path / "people", {"Ada": 4, "Bo": 3, "Cy": 1, "Dee": 2, "Ed": 8})
    command = ["train", "--run", tmp_path / "run", "--data", f"folder:{people}", *SMALL, "--pk", 2, 4]
    assert run(*command) == 2
    error = capsys.readouterr().err
    assert "pk: 4 images of each person; 3 have fewer: Bo (3), Cy (1), Dee (2); expected --small repeat" in error
    assert not (tmp_path / "run").exists()
    assert run(*command, "--small", small) == 0
    assert told in capsys.readouterr().out.splitlines()


def test_mirror_turns_every_other_image_and_no_other() -> None:
    images = torch.rand(400, 3, 8, 8) * 2 - 1
    seen = Mirror()(images, torch.Generator().manual_seed(1))
    turned, left = (seen == images.flip(3)).flatten(1).all(1), (seen == images).flatten(1).all(1)
    assert (turned ^ left).all()
    assert 160 < turned.sum() < 240
    both = Mirror(ShiftAndGain(pixels=1, gain=0))(images, torch.Generator().manual_seed(1))
    middle = both[:, :, 1:-1, 1:-1]
    moves = [seen[:, :, 1 + i : 7 + i, 1 + j : 7 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    found = torch.stack([(torch.isclose(middle, move, atol=1e-6)).flatten(1).all(1) for move in moves])
    assert (found.sum(0) == 1).all()


def test_mirror_is_a_setting_of_the_run(base: Path, tmp_path: Path) -> None:
    command = ["train", "--run", tmp_path / "run", "--data", f"folder:{base / 'people'}", *SMALL, "--mirror"]
    assert run(*command) == 0
    assert runs.config(tmp_path / "run").mirror
    one, other = (load_file(folder / "run" / "model.safetensors") for folder in (base, tmp_path))
    assert any(not torch.equal(one[name], other[name]) for name in one)


# ---- start


def test_a_run_hands_on_its_net_and_the_rows_of_people_it_knows(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cy is gone, Al is new and comes first: rows go by name, not by number. At rate 0 nothing moves afterwards."""
    people = draw(tmp_path / "people", {"Al": 6, "Ada": 6, "Bo": 6})
    more = ["--from", base / "run", "--lr", "1e-30", "--weight-decay", 0]
    assert run("train", "--run", tmp_path / "run", "--data", f"folder:{people}", *SMALL, *more) == 0
    assert f"from {base / 'run'}: the net, and class weights of 2 of 3 people" in capsys.readouterr().out
    was, now = (load_file(folder / "run" / "checkpoint.safetensors") for folder in (base, tmp_path))
    kept = [name for name in was if name.startswith("net.") and "running" not in name and "num_batches" not in name]
    assert kept
    assert all(torch.equal(was[name], now[name]) for name in kept)
    assert json.loads((tmp_path / "run" / "people.json").read_text()) == ["Ada", "Al", "Bo"]
    torch.testing.assert_close(now["loss.weight"][[0, 2]], was["loss.weight"][[0, 1]], rtol=0, atol=0)
    assert not torch.isclose(now["loss.weight"][1], was["loss.weight"][2]).any()


def test_new_people_alone_start_from_the_net(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = draw(tmp_path / "people", {"Uma": 6, "Vic": 6})
    more = ["--from", base / "run"]
    assert run("train", "--run", tmp_path / "run", "--data", f"folder:{people}", *SMALL, *more) == 0
    assert "the net, and class weights of 0 of 2 people" in capsys.readouterr().out


def test_a_finished_run_goes_on_in_a_new_cycle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "synthetic:identities=4,images_per_identity=4,seed=3", "--eval-every", 0]
    rest = [word for i, word in enumerate(SMALL) if word != "--size" and SMALL[i - 1] != "--size"]
    assert run("train", "--run", tmp_path / "one", *words, *rest) == 0
    assert run("train", "--run", tmp_path / "two", *words, *rest, "--from", tmp_path / "one") == 0
    assert "class weights of 4 of 4 people" in capsys.readouterr().out
    other = ["--data", "synthetic:identities=4,images_per_identity=4,seed=4", "--eval-every", 0]
    assert run("train", "--run", tmp_path / "three", *other, *rest, "--from", tmp_path / "one") == 0
    assert "the net, and no class weights" in capsys.readouterr().out


def test_more_epochs_are_a_run_that_starts_from_the_finished_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The thin spelling of --from: the same numbers to the bit; and the loss goes on where it was."""
    monkeypatch.chdir(tmp_path)
    words = ["--data", "synthetic:identities=4,images_per_identity=4,seed=3", "--eval-every", 0, "--batch-size", 8]
    words += ["--width", 2, "--dim", 8, "--loss", "sphereface"]
    assert run("train", "--run", "one", "--epochs", 3, *words) == 0
    before = {path: path.read_bytes() for path in Path("one").rglob("*") if path.is_file()}
    assert run("train", "--run", "long", "--from", "one", "--epochs", 2, "--seed", 1, *words) == 0
    capsys.readouterr()
    assert run("train", "--run", "one", "--extend", 2) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "one+2: 2 more epochs of one (3), in a new cycle of the learning rate"
    assert "from one: the net, and class weights of 4 of 4 people" in told
    assert {path: path.read_bytes() for path in before} == before
    assert runs.config("one+2") == runs.config("long")
    assert runs.config("one+2").start == "one"
    extended, long = (load_file(f"{run}/checkpoint.safetensors") for run in ("one+2", "long"))
    assert all(torch.equal(value, long[name]) for name, value in extended.items())
    assert int(extended["loss.iteration"]) == 2 * 5
    rates = [row["lr"] for row in json.loads(Path("one+2/metrics.json").read_text())]
    assert rates[0] > rates[1]
    assert run("train", "--from", "one", "--run", "other", "--extend", 2) == 0
    assert all(torch.equal(value, long[name]) for name, value in load_file("other/checkpoint.safetensors").items())
    assert run("train", "--run", "one", "--extend", 2) == 0  # there already
    monkeypatch.chdir("one")
    assert run("train", "--run", ".", "--extend", 1) == 0
    monkeypatch.chdir(tmp_path)
    assert runs.config("one+1").epochs == 1
    for given, message in (
        (["--run", "none", "--extend", 2], "run: none holds no config.json"),
        (["--run", "one", "--extend", 2, "--epochs", 3], "--epochs=3: found with --extend"),
        (["--run", "one", "--extend", 0], "epochs: 0"),
    ):
        assert run("train", *given) == 2
        assert message in capsys.readouterr().err


def test_only_what_has_a_row_per_class_goes_by_name() -> None:
    """DiscFace's ξ has d numbers; that there are as many classes, or half as many, makes no rows of them."""
    for classes in (4, 2):
        old, new = (losses.DiscFace(losses.CosFace(4, classes)) for _ in range(2))
        old.xi.data = torch.arange(4.0)
        was, names = new.xi.clone(), ["Ada", "Bo", "Cy", "Di"][:classes]
        start = Start(Path("run"), {}, old.state_dict(), names, "folder:people")
        assert start.into_loss(new, classes, names[::-1], "folder:other") == classes
        assert torch.equal(new.base_loss.weight, old.base_loss.weight.flip(0))
        assert torch.equal(new.xi, was)


def test_class_weights_that_are_shared_out_go_to_their_process(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = losses.CurricularFace(4, 6), losses.CurricularFace(4, 6)
    old.t.fill_(0.5)
    new.weight = nn.Parameter(new.weight[4:].detach().clone())
    monkeypatch.setattr("facelearn.starting.shards", lambda loss: {"weight": Shard(4, 4, 6)})
    start = Start(Path("run"), {}, old.state_dict(), None, "synthetic")
    assert start.into_loss(new, 6, None, "synthetic") == 6
    assert torch.equal(new.weight, old.weight[4:])
    assert new.t == 0.5
    assert start.into_loss(new, 6, None, "synthetic:seed=2") is None


def test_a_resumed_run_does_not_start_again(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--data", f"folder:{base / 'people'}", *SMALL, "--from", tmp_path / "gone.safetensors"]
    save_file(load_file(base / "run" / "model.safetensors"), tmp_path / "gone.safetensors")
    assert run("train", "--run", tmp_path / "run", *more) == 0
    (tmp_path / "gone.safetensors").unlink()
    assert run("train", "--run", tmp_path / "run", "--resume") == 0


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_insightface(wrapped: bool, tmp_path: Path) -> None:
    """Its names; in a dict with the state of a training, from several GPUs, or bare."""
    torch.manual_seed(0)
    theirs, ours = models.iresnet18(8, size=32), models.iresnet18(8, size=32)
    state = theirs.state_dict()
    stored = (
        {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}} if wrapped else state
    )
    torch.save(stored, tmp_path / "backbone.pth")
    Start.read(tmp_path / "backbone.pth").into_net(ours)
    assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())


def test_subcentres_and_biases_go_by_class() -> None:
    torch.manual_seed(0)
    old, new = (losses.SubCenterArcFace(4, C, num_subcenters=2) for C in (3, 4))
    before = new.weight.detach().clone()
    start = Start(Path("run"), {}, old.state_dict(), ["a", "b", "c"])
    assert start.into_loss(new, 4, ["c", "x", "a", "y"], "") == 2
    assert torch.equal(new.weight[:2], old.weight[4:])
    assert torch.equal(new.weight[4:6], old.weight[:2])
    assert torch.equal(new.weight[[2, 3, 6, 7]], before[[2, 3, 6, 7]])
    biased, other = losses.Softmax(4, 3), losses.Softmax(4, 2)
    nn.init.normal_(biased.bias)
    assert Start(Path("run"), {}, biased.state_dict(), ["a", "b", "c"]).into_loss(other, 2, ["b", "a"], "") == 2
    assert torch.equal(other.bias, biased.bias[[1, 0]])
    triplet = losses.Triplet()
    assert start.into_loss(triplet, 3, ["a", "b", "c"], "") is None


def test_what_is_no_start_is_one_line_before_any_work(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, wide = (models.SmallFaceNet(8, width=width).state_dict().items() for width in (2, 3))
    state = {name: value.contiguous() for name, value in small}
    first = next(iter(state))
    save_file(
        {name: v for name, v in state.items() if name != first} | {"head.kernel": torch.ones(1)},
        tmp_path / "foreign.safetensors",
    )
    save_file({name: value.contiguous() for name, value in wide}, tmp_path / "wide.safetensors")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"best": slice(1)}, tmp_path / "object.pth")
    (tmp_path / "noise.pth").write_bytes(b"12345678" * 9)
    (tmp_path / "noise.safetensors").write_bytes(b"12345678" * 9)
    for name, told in (
        ("none.pth", "expected a run folder, or a file"),
        ("foreign.safetensors", f"another net than this SmallFaceNet: 1 missing ({first}); 1 foreign (head.kernel)"),
        ("wide.safetensors", "of another shape ("),
        ("list.pth", "holds a list; expected tensors by name"),
        ("object.pth", "is damaged, or holds more than weights"),
        ("noise.pth", "is damaged, or holds more than weights"),
        ("noise.safetensors", "is damaged, or holds more than weights"),
    ):
        given = ["--data", f"folder:{base / 'people'}", *SMALL, "--from", tmp_path / name]
        assert run("train", "--run", tmp_path / "run", *given) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
        assert not (tmp_path / "run").exists()
