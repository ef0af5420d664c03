"""The checks of chapter 03 accept right answers and name planted mistakes."""

import pytest
import torch
import torch.nn.functional as F

from facelearn.check import softmax as check
from tests.check.conformance import assert_check

# Right answers, each by another way than the check's own reference.


def by_autograd(logits, labels):
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(leaf, labels), leaf)[0]


def by_log_softmax(logits, labels):
    return -logits.log_softmax(1)[torch.arange(len(labels)), labels].mean()


def by_log_sum_exp(logits, labels):
    return (torch.logsumexp(logits, 1) - logits[torch.arange(len(labels)), labels]).mean()


def by_largest_row_entry(logits, labels):
    shifted = logits - logits.max(1, keepdim=True).values
    return (shifted.exp().sum(1).log() - shifted[torch.arange(len(labels)), labels]).mean()


def by_least_squares(weight, bias, i, j, x):
    """Move x by the smallest step that makes the logits equal: the pseudo-inverse of one equation."""
    equation = (weight[i] - weight[j])[None]
    lead = weight[i] @ x + bias[i] - weight[j] @ x - bias[j]
    return x - torch.linalg.pinv(equation)[:, 0] * lead


# Planted wrong answers.


def reversed_sign(logits, labels):
    return -by_autograd(logits, labels)


def of_the_sum(logits, labels):
    return len(logits) * by_autograd(logits, labels)


def over_the_batch(logits, labels):
    return (logits.softmax(0) - F.one_hot(labels, logits.shape[1])) / len(logits)


def over_the_classes_count(logits, labels):
    return len(logits) * by_autograd(logits, labels) / logits.shape[1]


def in_place(logits, labels):
    p = logits.softmax(1)
    logits -= logits
    p[torch.arange(len(labels)), labels] -= 1
    return p / len(labels)


def unstable(logits, labels):
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return (p - F.one_hot(labels, logits.shape[1])) / len(logits)


def naive(logits, labels):
    powers = logits.exp()
    return -(powers / powers.sum(1, keepdim=True))[torch.arange(len(labels)), labels].log().mean()


def clamped(logits, labels):
    return -logits.softmax(1)[torch.arange(len(labels)), labels].clamp(min=1e-12).log().mean()


def with_epsilon(logits, labels):
    return -(logits.softmax(1)[torch.arange(len(labels)), labels] + 1e-12).log().mean()


def one_maximum_for_all_rows(logits, labels):
    shifted = logits - logits.max()
    return (shifted.exp().sum(1).log() - shifted[torch.arange(len(labels)), labels]).mean()


def maximum_not_put_back(logits, labels):
    shifted = logits - logits.max(1, keepdim=True).values
    return (shifted.exp().sum(1).log() - logits[torch.arange(len(labels)), labels]).mean()


def summed(logits, labels):
    return len(logits) * by_log_softmax(logits, labels)


def double_softmax(logits, labels):
    return F.cross_entropy(logits.softmax(1), labels)


def detached(logits, labels):
    return by_log_softmax(logits.detach(), labels) + 0 * logits.sum()


def clamped_logits(logits, labels):
    return F.cross_entropy(logits.clamp(-700, 700), labels)


def without_bias(weight, bias, i, j, x):
    return by_least_squares(weight, torch.zeros_like(bias), i, j, x)


def divided_by_the_norm(weight, bias, i, j, x):
    normal = weight[i] - weight[j]
    return x - (normal @ x + bias[i] - bias[j]) / normal.norm() * normal


def mirrored(weight, bias, i, j, x):
    return 2 * by_least_squares(weight, bias, i, j, x) - x


def wrong_way(weight, bias, i, j, x):
    return 2 * x - by_least_squares(weight, bias, i, j, x)


def between_the_weights(weight, bias, i, j, x):
    """The boundary of a nearest-centre classifier."""
    normal, middle = weight[i] - weight[j], (weight[i] + weight[j]) / 2
    return x - (x - middle) @ normal / normal.square().sum() * normal


def another_point_of_the_boundary(weight, bias, i, j, x):
    """Equal logits, but not the nearest point."""
    normal = weight[i] - weight[j]
    point = -(bias[i] - bias[j]) / (normal @ normal) * normal
    return point


def not_divided(weight, bias, i, j, x):
    normal = weight[i] - weight[j]
    return x - (normal @ x + bias[i] - bias[j]) * normal


def without_sign(weight, bias, i, j, x):
    normal = weight[i] - weight[j]
    return x - (normal @ x + bias[i] - bias[j]).abs() / normal.square().sum() * normal


def only_the_step(weight, bias, i, j, x):
    return by_least_squares(weight, bias, i, j, x) - x


def test_gradient_by_hand():
    wrong = [
        (reversed_sign, "sign"),
        (of_the_sum, "divide by B"),
        (over_the_batch, "over the classes"),
        over_the_classes_count,
        (in_place, "changes its inputs"),
        (unstable, "nan"),
    ]
    assert_check(check.ex1, by_autograd, wrong)


def test_stable_cross_entropy():
    wrong = [
        (naive, "nan"),
        (clamped, "caps the loss"),
        (with_epsilon, "caps the loss"),
        (one_maximum_for_all_rows, "each row needs its own"),
        (summed, "mean"),
        double_softmax,
        (detached, "gradient"),
        clamped_logits,
        (maximum_not_put_back, "put back"),
        (by_log_softmax, "log_softmax does the work"),
        (by_log_sum_exp, "logsumexp does the work"),
        (F.cross_entropy, "cross_entropy does the work"),
    ]
    assert_check(check.ex2, by_largest_row_entry, wrong)


def test_nearest_point_of_the_boundary():
    wrong = [
        (without_bias, "bias"),
        (divided_by_the_norm, "squared norm"),
        (mirrored, "half"),
        (wrong_way, "sign"),
        (between_the_weights, "inner products"),
        another_point_of_the_boundary,
        (not_divided, "nothing divides"),
        (without_sign, "no absolute value"),
        (only_the_step, "return the point"),
    ]
    assert_check(check.ex3, by_least_squares, wrong)


def test_messages_show_small_inputs_whole_or_by_row():
    told = check.ex1.examine(unstable).text
    assert "logits[0] = [" in told.en
    assert "labels = [" in told.en
    assert "nan" in told.zh
    assert "输入为 ±1000 左右的 logit（logits[0] = [" in told.zh
    told = check.ex2.examine(clamped_logits).text
    assert "(logits = [[10000, 0, -10000]], labels = [2])" in told.en
    assert "输入为分错的样本、logit 为 ±1e4（logits = [[" in told.zh
    told = check.ex3.examine(another_point_of_the_boundary).text
    assert "weight (4, 2), bias = [" in told.en
    assert "x = [" in told.en


@pytest.mark.parametrize("language", ["en", "zh"])
def test_one_line_in_the_language_of_the_folder(language, monkeypatch, capsys):
    monkeypatch.setenv("FACELEARN_LANG", language)
    check.ex1(of_the_sum)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert ("批次" in printed) == (language == "zh")
