"""A net as one ONNX file: read by onnxruntime and by ONNX's own reference interpreter."""

from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from facelearn import cli, models, nets
from facelearn.data import SyntheticFaces
from facelearn.onnx_file import write_onnx

onnx = pytest.importorskip("onnx", reason="needs the extra `export`")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `export`")
from onnx.reference import ReferenceEvaluator  # noqa: E402


def test_the_command_and_the_reader_of_its_help(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines that --help and the module show, on photos in bytes; against torch from the same photos."""
    path = tmp_path / "net.onnx"
    assert cli.main(["export", "--weights", "arcface", "--out", str(path)]) == 0
    assert f"written: {path}" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]  # no second file with the weights
    photos = SyntheticFaces(3, 2, 32, seed=1).images.permute(0, 2, 3, 1).numpy()  # uint8 (6, 32, 32, 3)
    code = "\n".join(line.strip() for line in cli.EXPORT_EXAMPLES.partition("alone:\n")[2].splitlines())
    space: dict[str, Any] = {"np": np, "onnxruntime": onnxruntime, "photos": photos}
    exec(code.replace('"net.onnx"', repr(str(path))), space)
    with torch.no_grad():
        net = models.pretrained("arcface").double()
        expected = nn.functional.normalize(net(torch.from_numpy(photos).permute(0, 3, 1, 2).double() / 127.5 - 1))
    assert space["embeddings"].shape == (6, 64)
    np.testing.assert_allclose(space["embeddings"], expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["group", "digit", "iresnet"])
def test_every_net_in_batches_of_any_size(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, size, channels = {
        "group": lambda: (models.SmallFaceNet(8, width=2, norm="group"), 36, 3),
        "digit": lambda: (models.DigitNet(2), 8, 1),
        "iresnet": lambda: (models.iresnet18(8, size=32), 32, 3),
    }[kind]()
    net.train()(torch.randn(8, channels, size, size))  # running statistics that are not those of the start
    differ = write_onnx(tmp_path / "net.onnx", net, size, channels)
    assert not net.training
    assert differ < 1e-4
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    known = {entry.key: entry.value for entry in model.metadata_props}
    assert (known["size"], known["channels"]) == (str(size), str(channels))
    if kind == "iresnet":
        return  # minutes in the interpreter below
    evaluator = ReferenceEvaluator(model)
    for b in (1, 3):
        images = torch.rand(b, channels, size, size) * 2 - 1
        (found,) = evaluator.run(None, {"images": images.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, net(images).numpy(), rtol=1e-4, atol=1e-5)


class Drifts(nn.Module):
    """Gives something else each time that Python runs it; what is exported is what it gave once."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.calls = nn.Parameter(torch.ones(4, 3)), 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return images.mean((2, 3)) @ self.weight.T * (1 + 0.1 * self.calls)


def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="embeddings differ by"):
        write_onnx(tmp_path / "net.onnx", Drifts(), 32)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nets.save_net(tmp_path / "double.safetensors", models.SmallFaceNet(4, width=1).double(),
                  {"net": "small", "embedding_dim": 4, "width": 1}, {})  # fmt: skip
    (tmp_path / "file").write_text("")
    out = ["--out", str(tmp_path / "net.onnx")]
    for given, told in (
        (["--weights", "arcface"], "--out: found none with --weights; expected the file to write"),
        (["--weights", "arcface", "--out", str(tmp_path)], "is a folder"),
        (["--weights", "arcface", "--out", str(tmp_path / "file" / "net.onnx")], "cannot be written"),
        (["--weights", "resnet", *out], "'resnet'; expected a file, or one of"),
        (["--weights", str(tmp_path / "double.safetensors"), *out], "net.dtype=torch.float64: expected torch.float32"),
        (["--run", str(tmp_path), *out], "holds no config.json"),
    ):
        assert cli.main(["export", *given]) == 2
        error = capsys.readouterr().err
        assert re.fullmatch(r"facelearn export: error: [^\n]+\n", error)
        assert told in error
    missing = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "onnxscript":
            raise ImportError(f"No module named {name!r}", name=name)
        return missing(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert cli.main(["export", "--weights", "arcface", *out]) == 2
    assert "found no onnxscript; expected it (pip install 'facelearn[export]')" in capsys.readouterr().err
    assert not (tmp_path / "net.onnx").exists()
