"""`torch.compile`d losses: the same value, gradients and state as without it, over two steps.

A dense head, and every pair loss, becomes one graph but for what looks at values. Tiles do not: a tile differentiates
`others` inside an autograd function, which Dynamo cannot follow, so that it runs as it is, between compiled parts.
States are replaced rather than changed in place: compiled, `t.lerp_()` on a buffer was lost, and the backward pass of a
`+= 1` saw the value after it.
"""

import copy
import os
import shutil

import pytest
import torch

from facelearn import losses
from facelearn.losses import ClassLoss
from tests.losses.conformance import batch

D, C = 8, 6
#: those with a state, and one of every other build; for all of the registry put `losses.REGISTRY` here
STEMS = ("arcface", "npcface", "curricularface", "adaface", "sphereface", "center", "triplet", "circle")
COMPILER = next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)


def make(stem, **settings):
    torch.manual_seed(0)
    kind = losses.REGISTRY[stem]
    if stem == "discface":
        return losses.DiscFace(losses.CosFace(D, C, **settings)).double()
    return (kind(D, C, **settings) if issubclass(kind, ClassLoss) else kind(**settings)).double()


def steps(call, loss, count=2):
    """Value, gradients and state after each of some training steps."""
    found = []
    for seed in range(count):
        x, y = batch(seed, d=D, C=C)
        x.requires_grad_()
        loss.zero_grad()
        torch.manual_seed(0)
        value = call(x, y)
        value.backward()
        state = {name: v.clone() for name, v in loss.state_dict().items()}
        found.append((value.detach(), x.grad, {n: p.grad for n, p in loss.named_parameters()}, state))
    return found


def assert_compiles(loss, backend):
    torch._dynamo.reset()
    plain = copy.deepcopy(loss)
    want, got = steps(plain, plain), steps(torch.compile(loss, backend=backend), loss)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("stem", STEMS)
def test_traced_forward_and_backward(stem):
    assert_compiles(make(stem), "aot_eager")


@pytest.mark.skipif(COMPILER is None, reason="compiling for the CPU needs a C++ compiler: none found")
def test_generated_code():
    import torch._inductor.config as inductor

    with inductor.patch({"cpp.vec_isa_ok": False}):  # to ask the compiler for each vector instruction takes as long
        assert_compiles(make("curricularface"), "inductor")


def test_tiles():
    assert_compiles(make("curricularface", tile=4), "aot_eager")


@pytest.mark.parametrize(("settings", "one_graph"), [({}, True), ({"tile": 4}, False)], ids=["dense", "tiled"])
def test_a_dense_head_is_one_graph_and_a_tiled_one_is_not(settings, one_graph):
    """The statement above; a torch that follows tiles makes this fail, and the statement go."""
    torch._dynamo.reset()
    x, y = batch(d=D, C=C)
    found = torch._dynamo.explain(make("arcface", **settings))(x.requires_grad_(), y)
    assert (found.graph_break_count == 0) == one_graph
