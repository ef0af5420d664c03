import pytest
import torch
from sklearn.datasets import load_digits

from facelearn.data import digits


def test_digits() -> None:
    train, test = digits(), digits("test")
    assert train.images.shape == (1400, 1, 8, 8)
    assert test.images.shape == (397, 1, 8, 8)
    together = torch.cat([train.labels, test.labels])
    assert torch.equal(together.bincount(), torch.from_numpy(load_digits().target).bincount())
    share = train.labels.bincount() / together.bincount()
    assert float((share - 1400 / 1797).abs().max()) < 0.005  # stratified
    assert torch.equal(digits().images, train.images)


def test_every_digit_is_used_once_and_spread_over_the_bytes() -> None:
    ours = torch.cat([digits().images, digits("test").images]).flatten(1)
    theirs = torch.from_numpy(load_digits().data)
    assert torch.equal(
        torch.tensor(sorted(ours.double().div(255 / 16).round().tolist())),
        torch.tensor(sorted(theirs.tolist())),
    )
    assert int(ours.max()) == 255


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match="split: found 'open', expected 'train' or 'test'"):
        digits("open")
