"""Sampled classes: the loss is that of the chosen classes, and a row that was not chosen does not move."""

import contextlib
import copy
import math

import pytest
import torch
from torch import Tensor

from facelearn import losses
from facelearn.data.image_set import ImageSet
from facelearn.losses import MarginHead
from facelearn.losses.sampling import sample_classes, touched_rows_only
from facelearn.training import fit
from tests.losses.conformance import value_and_gradients
from tests.losses.test_tiles import HEADS

C, D, B = 23, 16, 6
CHOSEN = torch.tensor([0, 2, 3, 7, 8, 11, 12, 17, 22])


def rows_of(head: MarginHead, classes: Tensor) -> Tensor:
    K = head.num_subcenters
    return (K * classes[:, None] + torch.arange(K)).flatten()


def head_and_part(stem: str, tile: int | None) -> tuple[MarginHead, MarginHead]:
    """A head that samples CHOSEN out of C classes, and one that has never known others."""
    more = HEADS[stem] | ({"std": 0.0} if stem == "elasticface" else {})
    torch.manual_seed(0)
    sampled = losses.build(stem, D, C, tile=tile, sample_rate=0.4, **more).double()
    sampled.draw_classes = lambda own: CHOSEN
    part = losses.build(stem, D, len(CHOSEN), tile=None, **more).double()
    part.load_state_dict(part.state_dict() | {"weight": sampled.weight.detach()[rows_of(sampled, CHOSEN)]})
    return sampled, part


@pytest.mark.parametrize("tile", [None, 4])
@pytest.mark.parametrize("stem", HEADS)
def test_sampled_is_the_head_of_the_chosen_classes(stem, tile):
    sampled, part = head_and_part(stem, tile)
    for seed in (0, 1):  # two steps: states move alike
        g = torch.Generator().manual_seed(seed)
        place = torch.randint(len(CHOSEN), (B,), generator=g)
        y = CHOSEN[place]
        near = sampled.weight.detach()[y * sampled.num_subcenters]
        x = 15 * (near + 0.3 * torch.randn(B, D, generator=g, dtype=torch.float64))
        got, want = value_and_gradients(sampled, x, y), value_and_gradients(part, x, place)
        gradient = got["grad_weight"].coalesce()
        assert torch.equal(gradient.indices()[0], rows_of(sampled, CHOSEN))
        for a, b in (
            (got["loss"], want["loss"]),
            (got["grad_embeddings"], want["grad_embeddings"]),
            (gradient.values(), want["grad_weight"]),
        ):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11 * float(b.abs().max()))
    for name, value in part.named_buffers():
        torch.testing.assert_close(sampled.get_buffer(name), value, rtol=1e-12, atol=1e-12)


def test_a_sample_holds_the_batch_and_others_at_random():
    torch.manual_seed(0)
    own = torch.tensor([5, 5, 90, 7, -3, 100, 2000])  # the last three belong to other ranks
    seen = torch.zeros(100)
    for _ in range(2000):
        chosen = sample_classes(own, 100, 0.2)
        assert torch.equal(chosen, chosen.unique())  # sorted, none twice
        assert len(chosen) == 20
        seen[chosen] += 1
    assert (seen[[5, 7, 90]] == 2000).all()
    others = seen[[j for j in range(100) if j not in (5, 7, 90)]] / 2000
    # 17 of 97 each time: a share of .175, standard error .0085
    assert others.mean() == pytest.approx(17 / 97)
    assert (others - 17 / 97).abs().max() < 4.5 * math.sqrt(17 / 97 * 80 / 97 / 2000)


def test_a_sample_has_room_for_the_batch_and_never_more_than_there_is():
    assert torch.equal(sample_classes(torch.arange(30), 50, 0.1), torch.arange(30))
    assert torch.equal(sample_classes(torch.arange(3), 4, 0.9), torch.arange(4))
    assert torch.equal(sample_classes(torch.arange(64) % 4, 4, 0.1), torch.arange(4))


def test_only_training_samples():
    torch.manual_seed(0)
    head, full = losses.ArcFace(D, C, sample_rate=0.3), losses.ArcFace(D, C)
    full.load_state_dict(head.state_dict())
    x, y = torch.randn(B, D), torch.arange(B)
    assert head(x, y) < full(x, y)  # fewer classes to beat
    assert head.eval()(x, y) == full.eval()(x, y)
    assert torch.equal(head.logits(x), full.logits(x))


def test_everything_chosen_is_everything():
    torch.manual_seed(0)
    head, full = losses.CurricularFace(D, C, sample_rate=0.99).double(), losses.CurricularFace(D, C).double()
    full.load_state_dict(head.state_dict())
    x, y = torch.randn(B, D, dtype=torch.float64), torch.arange(B)
    got, want = value_and_gradients(head, x, y), value_and_gradients(full, x, y)
    torch.testing.assert_close(got["loss"], want["loss"], rtol=1e-12, atol=0)
    torch.testing.assert_close(got["grad_weight"].to_dense(), want["grad_weight"], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("rate", [0, -0.1, 1.5, math.nan])
def test_a_rate_that_is_no_share_is_refused(rate):
    with pytest.raises(ValueError, match=r"sample_rate=.*expected 0 < sample_rate <= 1"):
        losses.ArcFace(D, C, sample_rate=rate)


def test_discface_on_a_sampling_head_keeps_the_gradient_sparse():
    loss = losses.DiscFace(losses.ArcFace(D, C, sample_rate=0.3))
    loss(torch.randn(B, D), torch.arange(B)).backward()
    assert loss.base_loss.weight.grad.is_sparse


# --- the optimiser ---------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, 0.1, amsgrad=True),
}


def sparse(rows: Tensor, values: Tensor, like: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(rows[None], values, like.shape, check_invariants=True)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_without_a_gradient_do_not_move_and_neither_does_their_state(name):
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(10, 3))
    optimizer = OPTIMIZERS[name]([weight])
    touched_rows_only(optimizer)
    for step, rows in enumerate(([0, 1, 2, 5], [1, 2, 9], [5], [0, 9])):
        before = weight.detach().clone()
        state = {k: v.clone() for k, v in optimizer.state[weight].items() if v.shape == weight.shape}
        chosen = torch.tensor(rows)
        weight.grad = sparse(chosen, torch.randn(len(rows), 3), weight)
        optimizer.step()
        still = torch.ones(10, dtype=torch.bool)
        still[chosen] = False
        assert weight.shape == weight.grad.shape == (10, 3)
        assert torch.equal(weight.detach()[still], before[still])
        assert not (weight.detach()[chosen] == before[chosen]).any()
        for key, value in state.items():
            assert torch.equal(optimizer.state[weight][key][still], value[still]), key
        assert step == 0 or state  # there was something to look at


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_where_all_rows_are_touched_the_step_is_the_optimisers_own(name):
    torch.manual_seed(0)
    ours = torch.nn.Parameter(torch.randn(6, 3))
    theirs = copy.deepcopy(ours)
    lazy, plain = OPTIMIZERS[name]([ours]), OPTIMIZERS[name]([theirs])
    touched_rows_only(lazy)
    for _ in range(4):
        theirs.grad = torch.randn(6, 3)
        ours.grad = sparse(torch.arange(6), theirs.grad, ours)
        lazy.step(), plain.step()
    assert torch.equal(ours, theirs)


def test_momentum_is_that_of_the_steps_in_which_a_row_was_touched():
    weight = torch.nn.Parameter(torch.zeros(2, 1))
    optimizer = torch.optim.SGD([weight], 1.0, momentum=0.5)
    touched_rows_only(optimizer)
    for rows in ([0], [0, 1], [0], [0, 1]):
        weight.grad = sparse(torch.tensor(rows), torch.ones(len(rows), 1), weight)
        optimizer.step()
    # v = .5 v + 1: 1, 1.5, 1.75, 1.875 for the row that was there four times, 1, 1.5 for the other
    assert weight.flatten().tolist() == pytest.approx([-(1 + 1.5 + 1.75 + 1.875), -(1 + 1.5)])


def test_dense_gradients_are_left_alone_and_the_loss_falls():
    torch.manual_seed(0)
    head = losses.ArcFace(D, 200, scale=16, margin=0.2, sample_rate=0.1)
    net = torch.nn.Linear(D, D)
    optimizer = torch.optim.AdamW([*net.parameters(), *head.parameters()], 0.01)
    touched_rows_only(optimizer)
    y = torch.arange(40)
    x = torch.randn(40, D)
    before = head.eval()(net(x), y).item()
    head.train()
    for _ in range(60):
        optimizer.zero_grad()
        head(net(x), y).backward()
        optimizer.step()
    assert head.eval()(net(x), y).item() < 0.2 * before
    assert optimizer.state[head.weight]["exp_avg"].shape == head.weight.shape


def test_gradients_are_clipped_within_the_step():
    """As the docstring of `sampling.py` says; up to torch 2.13 sparse ones are refused, and stay as they were."""
    torch.manual_seed(0)
    head, full = losses.ArcFace(D, C, sample_rate=0.99), losses.ArcFace(D, C)
    full.load_state_dict(head.state_dict())
    x, y = torch.randn(B, D), torch.arange(B)
    optimizer, plain = torch.optim.SGD(head.parameters(), 1.0), torch.optim.SGD(full.parameters(), 1.0)

    def clip(*_):
        torch.nn.utils.clip_grad_norm_(head.parameters(), 0.1)

    touched_rows_only(optimizer)
    optimizer.register_step_pre_hook(clip)
    head(x, y).backward(), full(x, y).backward()
    with contextlib.suppress(NotImplementedError):
        torch.nn.utils.clip_grad_norm_(head.parameters(), 0.1)
    torch.nn.utils.clip_grad_norm_(full.parameters(), 0.1)
    optimizer.step(), plain.step()
    torch.testing.assert_close(head.weight, full.weight)


def test_a_state_saved_between_steps_is_whole():
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(8, 2))
    optimizer = torch.optim.AdamW([weight], 0.1)
    touched_rows_only(optimizer)
    weight.grad = sparse(torch.tensor([3, 4]), torch.ones(2, 2), weight)
    optimizer.step()
    again = torch.nn.Parameter(weight.detach().clone())
    other = torch.optim.AdamW([again], 0.1)
    touched_rows_only(other)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for p, o in ((weight, optimizer), (again, other)):
        p.grad = sparse(torch.tensor([4, 7]), torch.ones(2, 2), p)
        o.step()
    assert torch.equal(weight, again)


def test_fit_trains_a_sampling_head_and_resumes(tmp_path):
    """AdamW refuses sparse gradients; `fit` spares the untouched rows, and the draws of an epoch repeat."""
    images = ImageSet(torch.randint(256, (40, 1, 4, 4), dtype=torch.uint8), torch.arange(40) % 20)

    def train(epochs_seen: int | None = None) -> MarginHead:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, D))
        head = losses.ArcFace(D, 20, scale=8.0, sample_rate=0.3)
        try:
            fit(net, head, images, epochs=3, batch_size=4, checkpoint=tmp_path / f"{bool(epochs_seen)}.safetensors",
                on_epoch=lambda epoch, _: stop_at(epoch, epochs_seen))  # fmt: skip
        except KeyboardInterrupt:
            return train(99)
        return head

    def stop_at(epoch: int, last: int | None) -> None:
        if epoch == last:
            raise KeyboardInterrupt

    whole, resumed = train(), train(2)
    assert torch.equal(whole.weight, resumed.weight)
