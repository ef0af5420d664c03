"""What is particular to chapter 09: who is left out, whose Gaussians are asked, how fast they move, what is chosen."""

import pytest
import torch
from experiments import lgm as experiment

from facelearn import lesson
from facelearn.losses import LGM


def test_strangers_are_the_digits_left_out_and_known_images_are_held_out():
    shown = experiment.images(5)
    left_out = set(shown.strangers.labels.tolist())
    assert len(left_out) == 2
    assert left_out.isdisjoint(shown.kept)
    assert len(shown.kept) == 8
    assert set(shown.known.labels.tolist()) == set(range(8)) == set(shown.train.labels.tolist())
    train, known = ({tuple(image.flatten().tolist()) for image in part.images} for part in (shown.train, shown.known))
    assert len(train & known) <= 1


def test_refitted_gaussians_have_a_mean_own_distance_of_half_the_dimension():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    x = 5 * labels[:, None] + torch.randn(90, 7, generator=generator) * torch.logspace(-2, 1, 7)
    own = experiment.refitted(x, labels).distances(x.double()).gather(1, labels[:, None])
    assert own.mean().item() == pytest.approx(7 / 2, rel=1e-6)


def test_learnt_gaussians_are_those_of_the_loss():
    torch.manual_seed(0)
    loss, x = LGM(4, 5).double(), torch.randn(6, 4, dtype=torch.float64)
    loss.log_var.data.normal_()
    torch.testing.assert_close(experiment.learnt(loss).log_densities(x), loss.logits(x))


def test_auroc_is_1_for_the_known_and_turns_with_the_sign():
    a, b = torch.tensor([3.0, 4.0, 5.0]), torch.tensor([1.0, 2.0])
    assert experiment.auroc(a, b) == 1
    assert experiment.auroc(-a, -b) == 0


@pytest.mark.parametrize("covariance", ["diagonal", "identity"])
def test_a_rate_moves_means_and_variances_alone_that_many_times_as_fast(covariance):
    """The first step of AdamW is the learning rate, whatever the gradient."""
    moved = []
    for rate in (1, 5):
        torch.manual_seed(0)
        head = experiment.head(experiment.setting(rate=rate, covariance=covariance), 3, 4)
        before = [part.detach().clone() for part in (head.means, head.log_var) if part is not None]
        optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0)
        head(torch.randn(8, 3), torch.arange(8) % 4).backward()
        optimizer.step()
        after = [part.detach() for part in (head.means, head.log_var) if part is not None]
        moved.append([(a - b).abs().mean() for a, b in zip(after, before, strict=True)])
    torch.testing.assert_close(moved[1], [5 * step for step in moved[0]], rtol=1e-3, atol=0)


def test_the_force_turns_back_only_with_a_likelihood_term():
    means = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    far = torch.tensor([[4.0, 0.0]])
    assert experiment.force(far, means, 0.0, 0.0)[0, 0] > 0 > experiment.force(far, means, 0.0, 0.3)[0, 0]


def test_what_was_chosen_is_the_best_on_tune():
    table = lesson.results(experiment.CHAPTER, experiment.SETTINGS)
    found = {loss: weight for loss, (weight, _) in experiment.choose(table).items()}
    assert {"softmax": 0.0, **experiment.SETTINGS["chosen"]} == found
