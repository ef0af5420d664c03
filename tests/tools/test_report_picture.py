"""The picture of the report: small, described, and shown where users look."""

import re
from pathlib import Path

import pytest
from PIL import Image

from tools import report_picture

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_is_small_and_shown_with_a_description(language: str) -> None:
    file = report_picture.ASSETS / f"report_{language}.png"
    assert file.stat().st_size <= report_picture.LIMIT
    assert Image.open(file).width == 3 * report_picture.WIDTH
    readme = ROOT / {"en": "README.md", "zh": "README.zh.md"}[language]
    for page in (readme, ROOT / "course" / "site" / "pages" / language / "data.md"):
        (told,) = re.findall(rf"!\[(.+)\]\(.*assets/report_{language}\.png\)", page.read_text())
        assert len(told) > 60


def test_parts_that_cannot_be_small_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = Image.effect_noise((300, 300), 99).convert("RGB")
    assert len(report_picture.beside([noise, noise])) <= report_picture.LIMIT
    monkeypatch.setattr(report_picture, "LIMIT", 1000)
    with pytest.raises(ValueError, match=r"picture: found \d+ bytes, expected 1000 at most"):
        report_picture.beside([noise])
