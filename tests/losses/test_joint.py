import math

import pytest
import torch

from facelearn.losses import ArcFace, Center, Joint, Ring, Softmax, SupCon, Triplet
from tests.losses.conformance import batch, value_and_gradients


def test_is_the_weighted_sum_of_its_parts():
    x, y = batch()
    parts = [(1.0, Softmax(8, 6).double()), (0.5, ArcFace(8, 6).double()), (-0.1, SupCon()), (2.0, Triplet())]
    got = value_and_gradients(Joint(*parts), x, y)
    singles = [value_and_gradients(loss, x, y) for _, loss in parts]
    for name in ("loss", "grad_embeddings"):
        want = sum(weight * single[name] for (weight, _), single in zip(parts, singles, strict=True))
        torch.testing.assert_close(got[name], want)
    torch.testing.assert_close(got["grad_parts.1.weight"], 0.5 * singles[1]["grad_weight"])


def test_one_part_of_weight_one_is_that_part():
    x, y = batch()
    loss = ArcFace(8, 6).double()
    assert torch.equal(Joint((1.0, loss))(x, y), loss(x, y))


def test_weights_may_change_and_zero_leaves_a_part_alone():
    x, y = batch()
    joint = Joint((1, Softmax(8, 6)), (0, Center(8, 6)), (0.0, Ring())).double()
    joint(x, y)
    assert not joint.parts[1].centers.any()
    assert joint.parts[2].radius.isnan()
    joint.weights[1:] = [0.003, 0.01]
    joint(x, y)
    assert joint.parts[1].centers.any()
    assert joint.parts[2].radius.isfinite()
    joint.weights = [0.0, 0.0, 0.0]
    got = value_and_gradients(joint, x, y)
    assert got["loss"] == 0
    assert torch.equal(got["grad_embeddings"], torch.zeros_like(x))  # attached


def test_nothing_overflows_in_half_precision():
    x = torch.ones(256, 512, dtype=torch.float16)
    joint = Joint((0.0, Softmax(512, 6)))
    assert joint(x, torch.arange(256) % 6) == 0
    joint.weights = [1.0]
    assert joint(x, torch.arange(256) % 6).isfinite()


def test_values_per_sample_add_up():
    x, y = batch()
    softmax, center = Softmax(8, 6, reduction="none").double(), Center(8, 6, reduction="none").double().eval()
    each = Joint((1.0, softmax), (0.1, center))(x, y)
    torch.testing.assert_close(each, softmax(x, y) + 0.1 * center(x, y))


def test_state_is_that_of_the_parts():
    x, y = batch()
    make = lambda: Joint((1.0, Softmax(8, 6)), (0.5, Center(8, 6)), (0.1, Ring())).double()  # noqa: E731
    joint, other = make(), make()
    joint(x, y)
    other.load_state_dict(joint.state_dict())
    assert torch.equal(other.eval()(x, y), joint.eval()(x, y))


def test_logits_are_those_of_the_first_part_that_has_them():
    x, _ = batch()
    softmax = Softmax(8, 6).double()
    joint = Joint((0.1, SupCon()), (1.0, softmax), (1.0, ArcFace(8, 6).double()))
    assert torch.equal(joint.logits(x), softmax.logits(x))
    with pytest.raises(ValueError, match=r"parts=\['SupCon'\]: expected one with logits"):
        Joint((1.0, SupCon())).logits(x)


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ((), r"parts=\(\): "),
        ((Softmax(8, 6),), r"parts\[0\]=Softmax"),
        (((Softmax(8, 6), 1.0),), r"parts\[0\]="),
        (((math.nan, Softmax(8, 6)),), r"weights=\[nan\]"),
    ],
)
def test_bad_parts_are_refused_by_name(parts, named):
    with pytest.raises(ValueError, match=named):
        Joint(*parts)


def test_bad_batches_are_refused_by_the_parts():
    with pytest.raises(ValueError, match=r"labels\[.\]=6: "):
        Joint((1.0, SupCon()), (1.0, Softmax(8, 6)))(torch.randn(2, 8), torch.tensor([0, 6]))
