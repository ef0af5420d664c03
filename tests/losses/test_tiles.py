"""The tiled form computes what the dense form does, and holds no (B, C) matrix."""

import gc

import pytest
import torch

from facelearn import losses
from facelearn.losses import MarginHead
from facelearn.losses.tiles import TILE, tile_size
from tests.losses.conformance import hostile, value_and_gradients

HEADS = {
    "normface": {}, "cosface": {}, "arcface": {}, "sphereface": {}, "combined_margin": {}, "subcenter_arcface": {},
    "mv_softmax": {}, "curricularface": {"momentum": 0.5}, "circleface": {"gamma": 64.0}, "npcface": {}, "magface": {},
    "adaface": {"momentum": 0.5}, "elasticface": {"plus": True},
}  # fmt: skip
C, D = 23, 16


def pair(stem: str, tile: int) -> tuple[MarginHead, MarginHead]:
    """The same head twice, dense and tiled, in float64."""
    made = []
    for size in (None, tile):
        more = {"generator": torch.Generator().manual_seed(3)} if stem == "elasticface" else {}
        made.append(losses.build(stem, D, C, tile=size, **HEADS[stem], **more).double())
    made[1].load_state_dict(made[0].state_dict())
    return made[0], made[1]


def test_every_head_of_the_registry_is_held_to_this():
    assert {stem for stem, kind in losses.REGISTRY.items() if issubclass(kind, MarginHead)} == set(HEADS)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "formed again"])
@pytest.mark.parametrize("tile", [1, 5, 23, 100])
@pytest.mark.parametrize("stem", HEADS)
def test_tiled_equals_dense(stem, tile, kept, monkeypatch):
    monkeypatch.setattr("facelearn.losses.tiles.KEEP_UP_TO", 2**22 if kept else 0)
    dense, tiled = pair(stem, tile)
    for seed in (0, 1):  # two steps: states move alike
        g = torch.Generator().manual_seed(seed)
        y = torch.randint(C, (9,), generator=g)
        near = dense.weight.detach()[y * dense.num_subcenters]
        x = 15 * (near + 0.3 * torch.randn(9, D, generator=g, dtype=torch.float64))  # some hard negatives, some easy
        x[0] = -x[0]  # beyond π - m
        want, got = value_and_gradients(dense, x, y), value_and_gradients(tiled, x, y)
        for name in want:
            scale = float(want[name].abs().max())
            torch.testing.assert_close(
                got[name], want[name], rtol=1e-10, atol=1e-11 * scale, msg=lambda m, n=name: f"{n}: {m}"
            )
    for name, value in dense.state_dict().items():
        torch.testing.assert_close(tiled.state_dict()[name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_upstream_gradients_arrive_per_sample(reduction):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, D, generator=g, dtype=torch.float64), torch.arange(6)
    per_sample = torch.rand(6, generator=g, dtype=torch.float64)
    grads = []
    for tile in (None, 4):
        torch.manual_seed(0)
        head = losses.build("npcface", D, C, tile=tile, reduction=reduction).double()
        leaf = x.clone().requires_grad_()
        value = head(leaf, y)
        (value * per_sample).sum().backward()
        grads.append((leaf.grad, head.weight.grad))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("stem", HEADS)
def test_tiled_is_finite_on_hostile_embeddings(stem):
    head = losses.build(stem, 64, 50, tile=7, **HEADS[stem])
    x, y = hostile(head.weight[:: head.num_subcenters])
    for cast in (None, torch.bfloat16, torch.float16):
        got = value_and_gradients(head, x, y, cast)
        assert all(v.isfinite().all() for v in got.values())


def test_a_head_whose_negatives_feel_the_target_cosine():
    """Gradient through `target_cos` and `rows` inside `others`, which no shipped head needs, is exact too."""

    class Coupled(MarginHead):
        def rows(self, embeddings, target_cos):
            return (embeddings.norm(dim=1),)

        def target(self, cos, rows):
            length, drift = rows
            return cos * length + 0.1 * drift

        def others(self, cos, target_cos, rows):
            return cos * (1.2 * torch.exp(-((cos - target_cos) ** 2))) * rows[0]

        def row_sums(self, cos, target_cos):
            return (cos * target_cos,)

    torch.manual_seed(0)
    x, y = torch.randn(7, D, dtype=torch.float64), torch.arange(7)
    dense, tiled = Coupled(D, C, scale=3.0, tile=None).double(), Coupled(D, C, scale=3.0, tile=4).double()
    tiled.load_state_dict(dense.state_dict())
    want, got = value_and_gradients(dense, x, y), value_and_gradients(tiled, x, y)
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-10, atol=1e-12)


def test_zero_weight_rows_are_treated_alike():
    dense, tiled = pair("arcface", 5)
    with torch.no_grad():
        for head in (dense, tiled):
            head.weight[3] = 0
    x, y = torch.randn(5, D, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 3])
    want, got = value_and_gradients(dense, x, y), value_and_gradients(tiled, x, y)
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-10, atol=1e-12)


def test_auto_is_dense_while_small_and_tiled_above():
    assert tile_size("auto", 128, 300) is None
    assert tile_size(None, 4096, 10**6) is None
    assert tile_size(100, 2, 3) == 100
    assert tile_size("auto", 256, 10_000) == TILE // 256
    for bad in ("all", 0, -1, 2.5):
        with pytest.raises(ValueError, match="tile="):
            losses.ArcFace(D, C, tile=bad)


def test_nothing_stays_alive_after_a_step():
    """No graph leaks: as many live tensors after ten steps as after two."""
    head = losses.CurricularFace(D, 200, tile=16)

    def step() -> int:
        x = torch.randn(8, D, requires_grad=True)
        head.zero_grad()
        head(x, torch.arange(8)).backward()
        del x
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    gc.freeze()  # what other tests left is not looked at
    counts = [step() for _ in range(10)]
    gc.unfreeze()
    assert counts[-1] == counts[1]
