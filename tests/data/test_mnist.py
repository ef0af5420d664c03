import gzip
import os
import struct
from pathlib import Path

import pytest
import torch

from facelearn.data import MNIST
from facelearn.data.mnist import read_idx

REAL = os.environ.get("FACELEARN_DATA")


def idx(shape: tuple[int, ...], data: bytes, magic: bytes = b"\0\0\x08") -> bytes:
    return magic + bytes([len(shape)]) + struct.pack(f">{len(shape)}i", *shape) + data


@pytest.mark.skipif(REAL is None, reason="FACELEARN_DATA is not set: no real MNIST to read")
def test_real_mnist() -> None:
    assert REAL is not None
    train, test = MNIST(Path(REAL) / "mnist"), MNIST(Path(REAL) / "mnist", "test")
    assert train.images.shape == (60000, 1, 28, 28)
    assert test.images.shape == (10000, 1, 28, 28)
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    # class counts of the published set
    assert train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    mean, std = float(train.images.float().mean() / 255), float(train.images.float().std() / 255)
    assert mean == pytest.approx(0.1307, abs=1e-4)
    assert std == pytest.approx(0.3081, abs=1e-4)


@pytest.mark.parametrize("packed", [False, True])
def test_reads_rows_in_order(tmp_path: Path, packed: bool) -> None:
    data = idx((2, 2, 3), bytes(range(12)))
    path = tmp_path / ("some-idx.gz" if packed else "some-idx")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert torch.equal(read_idx(path, (2, 2, 3)), torch.arange(12, dtype=torch.uint8).view(2, 2, 3))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "offset 0: magic number: found end of file, expected 00000803"),
        (b"\x89PNG\r\n\x1a\n", "offset 0: magic number: found 89504e47, expected 00000803"),
        (idx((2, 2, 3), bytes(12), b"\0\0\x0d"), "offset 0: magic number: found 00000d03, expected 00000803"),
        (idx((2,), bytes(2)), "offset 0: magic number: found 00000801"),
        (idx((3, 2, 3), bytes(18)), "offset 4: dimension 0: found 3, expected 2"),
        (idx((2, 2, 4), bytes(16)), "offset 12: dimension 2: found 4, expected 3"),
        (idx((2, 2, 3), b"")[:10], "offset 8: dimension 1: found end of file, expected 2"),
        (idx((2, 2, 3), bytes(11)), "offset 27: found 27 bytes in all, expected 28"),
        (idx((2, 2, 3), bytes(13)), "offset 28: found 29 bytes in all, expected 28"),
    ],
)
def test_broken_files(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        read_idx(path, (2, 2, 3))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "not gzip"])
def test_broken_gzip(tmp_path: Path, damage: str) -> None:
    data = bytearray(gzip.compress(idx((2, 2, 3), os.urandom(12))))
    path = tmp_path / "images.gz"
    if damage == "truncated":
        del data[-9:]
    elif damage == "flipped":
        data[-6] ^= 1  # in the checksum
    else:
        data = bytearray(b"plain text")
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=rf"{path}: offset \d+ of the unpacked data: found .* expected a whole gzip file"
    ):
        read_idx(path, (2, 2, 3))


def test_missing_files_and_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"root: found neither train-images-idx3-ubyte nor .*\.gz in"):
        MNIST(tmp_path)
    with pytest.raises(ValueError, match="split: found 'fit'"):
        MNIST(tmp_path, "fit")


def test_impossible_label(tmp_path: Path) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx((10000, 28, 28), bytes(7840000)))
    labels = bytearray(10000)
    labels[7] = 10
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx((10000,), bytes(labels)))
    with pytest.raises(ValueError, match="offset 15: found label 10, expected 0 to 9"):
        MNIST(tmp_path, "test")
