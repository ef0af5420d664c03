"""Chapter 00: points of a face where the renderer draws them, names counted by hand, a game without a person twice."""

import pytest
import torch
from experiments import camera, game
from experiments import start as experiment

from facelearn.data import SyntheticFaces


def test_the_landmarks_lie_where_features_are_drawn():
    """Iris and pupil are darker than the white beside them; a face that is turned takes its points along."""
    still = dict.fromkeys(("yaw", "pitch", "roll", "shift_x", "shift_y", "zoom", "smile", "gaze_x", "gaze_y"), 0.0)
    drawn = SyntheticFaces(6, 1, 112, seed=3, difficulty=0.0, fixed=still | {"glasses": 0.0}, cache=False)
    points = camera.landmarks(drawn)
    grey = drawn.images.double().mean(1)
    for image, five in zip(grey, points.round().long(), strict=True):
        for x, y in five[:2]:  # an eye's middle is among the darkest spots near it
            near = image[y - 8 : y + 9, x - 8 : x + 9]
            assert image[y - 1 : y + 2, x - 1 : x + 2].min() <= near.quantile(0.05)
    assert (points[:, 0, 0] < points[:, 2, 0]).all()
    assert (points[:, 2, 0] < points[:, 1, 0]).all()  # the nose is between the eyes
    assert (points[:, 3:, 1] > points[:, 2:3, 1]).all()  # the mouth is below it

    rolled = SyntheticFaces(6, 1, 112, seed=3, difficulty=0.0, fixed=still | {"glasses": 0.0, "roll": 0.5}, cache=False)
    turn = torch.polar(torch.ones(1), torch.tensor([0.5])).to(torch.complex128)
    before, after = (torch.view_as_complex(p.contiguous() - 55.5) for p in (points, camera.landmarks(rolled)))
    torch.testing.assert_close(after, before * turn, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:far")
def test_a_wrong_name_is_no_success():
    seen = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
    labels = torch.tensor([0, 1, 1, 1])  # the third gets the wrong name
    strangers = torch.tensor([[0.65, 0.35], [0.34, 0.66]] + 198 * [[0.5, 0.5]])
    assert experiment.named(seen, labels, strangers, alarms=0.1) == 0.75  # 0.6 lets in two of 200: all but the third
    assert experiment.named(seen, labels, strangers[:20], alarms=0.05) == 0.5  # one of 20: above 0.65, without 0.6


def test_the_game_has_six_pairs_of_each_kind_and_nobody_twice():
    result, chosen = game.pairs()
    assert result.same[chosen].sum() == 6
    assert len(set(result.pairs[chosen].ravel() // game.PEOPLE["images_per_identity"] // 4)) == 12  # families


@pytest.mark.parametrize(("answers", "words"), [("snsn", "4 'snsn'"), ("x" * 12, "12 'x"), ("", "0 ''")])
def test_the_game_gives_nothing_away_before_it_has_twelve_answers(answers, words, capsys):
    game.play(answers)
    printed = capsys.readouterr().out
    assert words in printed
    assert "truth" not in printed


def test_the_game_counts_what_the_reader_has_right(capsys):
    result, chosen = game.pairs()
    game.play(" ".join("s" if same else "n" for same in result.same[chosen]))
    assert " right: 12" in capsys.readouterr().out.splitlines()[1]


def test_shuffled_labels_leave_the_original_alone():
    training, _ = experiment.shown(30, 5, "smoke")
    before = training.labels.clone()
    shuffled = experiment.train(experiment.setting(30, "shuffled"), 5, training, "smoke").faces
    assert torch.equal(training.labels, before)
    assert not torch.equal(shuffled.labels, before)
    assert torch.equal(shuffled.labels.sort().values, before)
