"""A trained net as one ONNX file, for programs that have no torch.

Whoever reads it needs onnxruntime and NumPy:

    import numpy as np, onnxruntime
    net = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    images = photos.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1  # photos: uint8 (B, H, W, C), RGB
    embeddings = net.run(["embeddings"], {"images": images})[0]  # (B, d), not yet of length 1
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import facelearn
from facelearn.files import check_writable, write_whole

#: the largest difference to torch that passes, over the largest number in the embeddings
TOLERANCE = 1e-4


def write_onnx(path: str | os.PathLike[str], net: nn.Module, size: int, channels: int = 3) -> float:
    """Write `net` with its weights as one ONNX file; returns by how much the file's embeddings differ from the net's.

    The file takes `images` float32 `(B, channels, size, size)` in [-1, 1], any B, and gives `embeddings` `(B, d)`; that
    of a net in `eval()` mode. Before it takes its place it is run by onnxruntime on noise, one image and five, and its
    embeddings are compared with the net's: the number returned is the largest difference over the largest value.

    Raises:
        ValueError: where onnx, onnxscript or onnxruntime is missing, or the two differ by more than `TOLERANCE`; then
            no file is written.
        OSError: where `path` cannot be written; found out before the work.
    """
    check_writable(path, "path")
    runtime = _needed()
    net = net.eval()
    kind = next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)
    if kind != torch.float32:
        raise ValueError(f"net.dtype={kind}: expected torch.float32")
    content = _onnx(net, torch.zeros(2, channels, size, size), {"size": size, "channels": channels})
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    differ = max(_difference(net, session, 2 * torch.rand(b, channels, size, size, generator=generator) - 1)
                 for b in (1, 5))  # fmt: skip
    if not differ <= TOLERANCE:
        raise ValueError(f"export: embeddings differ by {differ:.1e} of the largest; expected at most {TOLERANCE:.0e}")
    write_whole(path, content)
    return differ


def _needed() -> Any:
    """onnxruntime; ValueError where a package is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"export: found no {error.name}; expected it (pip install 'facelearn[export]')") from None
    return onnxruntime


def _onnx(net: nn.Module, images: Tensor, about: dict[str, Any]) -> bytes:
    device = next(net.parameters()).device
    with _quiet():
        program = torch.onnx.export(
            net, (images.to(device),), None, dynamo=True, verbose=False, external_data=False,
            input_names=["images"], output_names=["embeddings"], dynamic_shapes=({0: torch.export.Dim("batch")},),
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    model.producer_name, model.producer_version = "facelearn", facelearn.__version__
    known = {"input": "RGB or grey, float32 (B, channels, size, size) in [-1, 1]"} | about
    for name, value in known.items():
        model.metadata_props.add(key=name, value=str(value))
    return model.SerializeToString()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remarks on its own insides and on the absence of torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@torch.no_grad()
def _difference(net: nn.Module, session: Any, images: Tensor) -> float:
    ours = net(images.to(next(net.parameters()).device)).cpu()
    theirs = torch.from_numpy(session.run(["embeddings"], {"images": images.numpy()})[0])
    return float((theirs - ours).abs().max() / ours.abs().max())
