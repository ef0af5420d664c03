"""What the experiments on faces share: pairing by seed, and pictures of the faces themselves."""

import numpy as np
import pandas as pd
import pytest
import torch
from experiments import faces
from matplotlib import pyplot as plt
from torch import nn

from facelearn import figures
from facelearn.losses import build


def test_differences_are_paired_by_seed_and_by_setting():
    table = pd.DataFrame({"loss": ["a", "b", "a", "b", "b"], "seed": [1, 2, 2, 1, 3], "eer": [0.1, 0.2, 0.3, 0.4, 0.5]})
    found = faces.paired(table, "eer", {"loss": "b"}, {"loss": "a"})
    assert found.to_dict() == pytest.approx({1: 0.3, 2: -0.1})  # seed 3 has no partner


def test_the_net_starts_alike_whatever_the_loss_draws():
    def draws_more(dim, classes):
        torch.rand(1000)
        return build("normface", dim, classes, scale=8.0)

    starts = []
    for make in (draws_more, lambda dim, classes: build("normface", dim, classes, scale=8.0)):
        trained = faces.train(make, 0, "smoke", lr=1e-12, weight_decay=0.0)
        starts.append(next(trained.net.parameters()).detach())
    torch.testing.assert_close(*starts, atol=1e-6, rtol=0)


class Brightness(nn.Module):
    """A net whose embedding is (mean red, mean green): what it gets wrong can be said beforehand."""

    embedding_dim = 2

    def forward(self, x):
        return x.mean((2, 3))[:, :2]


def test_the_worst_pairs_are_the_most_alike_of_two_people_and_the_least_alike_of_one():
    class Set(torch.utils.data.Dataset):
        labels = torch.tensor([0, 0, 1, 1])
        images = torch.zeros(4, 3, 2, 2)

        def __len__(self):
            return 4

        def __getitem__(self, i):
            return self.images[i], self.labels[i]

    shown = Set()
    for i, (red, green) in enumerate([(1.0, 0.0), (0.0, 1.0), (1.0, 0.1), (1.0, 0.9)]):
        shown.images[i, 0], shown.images[i, 1] = red, green
    for same, left, right in ((True, 0, 1), (False, 0, 2)):
        fig = faces.worst_pairs(Brightness(), shown, same=same, pairs=1)
        (ax,) = fig.axes
        drawn = ax.images[0].get_array()  # (4, 2, 3): one column, two faces
        np.testing.assert_allclose(drawn[:2], shown.images[left].permute(1, 2, 0), atol=1e-6)
        np.testing.assert_allclose(drawn[2:], shown.images[right].permute(1, 2, 0), atol=1e-6)
        plt.close(fig)


def test_a_strip_has_a_row_for_each_person():
    rows = [torch.full((3, 3, 4, 4), value) for value in (0.2, 0.8)]
    fig = figures.face_strip(rows, ["a", "b", "c"])
    picture = fig.axes[0].images[0].get_array()
    assert picture.shape == (8, 12, 3)
    assert picture[0, 0, 0] < picture[-1, 0, 0]
    assert [text.get_text() for text in fig.axes[0].texts] == ["a", "b", "c"]
    plt.close(fig)
