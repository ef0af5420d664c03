"""The page's tables, from made-up results: every number where it belongs, both languages with the same ones."""

import re
from pathlib import Path

import pandas as pd
import pytest

from tools.real_faces_page import GAIN, LANGUAGES, ROOT, render

SPANS = {f"{name}_{end}": 0.1 for name in ("accuracy", "eer", "tar2") for end in ("low", "high")}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    def line(system: str, loss: str, seed: int, accuracy: float) -> list[dict]:
        key = {"system": system, "loss": loss, "seed": seed}
        numbers = {"accuracy": accuracy, "accuracy_seen": 0.5, "eer": 0.2, "every_eer": 0.2, "every_tar2": 0.4,
                   "every_tar3": 0.3}  # fmt: skip
        whole = {"tar2": 0.6, "orl_eer": 0.11 if system == "net" else float("nan"), "seconds": 30.0} | SPANS
        return [key | {"rotation": "all"} | numbers | whole, key | {"rotation": "1"} | numbers]

    lines = [line("lbp + JB", "classical", 0, 0.88), line("net", "softmax", 0, 0.81), line("net", "softmax", 1, 0.83),
             line("net", "synthetic", 0, 0.7), line("net", "untrained", 0, 0.6)]  # fmt: skip
    pd.DataFrame([row for pair in lines for row in pair]).to_csv(tmp_path / "real_faces.csv", index=False)
    test = {"family": "f", "system": "net", "loss": "softmax", "against": "lbp + JB", "against_loss": "classical",
            "seeds": 2, "value": -0.06, "low": -0.08, "high": -0.04, "p": 1e-5, "p_holm": 0.02}  # fmt: skip
    pd.DataFrame([test]).to_csv(tmp_path / "real_faces_tests.csv", index=False)
    key = {"chapter": "12", "claim": "not planned: one", "comparison": "arcface - normface"}
    asked = [
        key | {"measure": measure, "effect": value, "low": value - 0.25, "high": value + 0.25, "verdict": verdict}
        for measure, value, verdict in (("EER", -0.5, "better"), ("TAR@1e-3", 1.5, "open"))
    ]  # fmt: skip
    asked.append(asked[0] | {"chapter": "18", "comparison": "softmax", "measure": GAIN, "verdict": "worse"})
    pd.DataFrame(asked).to_csv(tmp_path / "real_faces_claims.csv", index=False)
    tried = [
        {"loss": "arcface", "words": f"arcface:scale={s}", "lr": 0.01, "eer": s, "chosen": s < 12} for s in (8, 16)
    ]
    pd.DataFrame(tried).to_csv(tmp_path / "real_faces_claims_search.csv", index=False)
    own = {"loss": "arcface", "words": "arcface:scale=8", "lr": 0.01, "rotation": 1, "TAR@1e-3": 30.0, GAIN: 4.0}
    measured = [own | {"seed": seed, "EER": eer} for seed, eer in ((1, 11.0), (2, 13.0))]
    pd.DataFrame(measured).to_csv(tmp_path / "real_faces_claims_losses.csv", index=False)
    pd.DataFrame(asked[:2]).to_csv(tmp_path / "real_faces_net_claims.csv", index=False)
    pd.DataFrame(tried).to_csv(tmp_path / "real_faces_net_claims_search.csv", index=False)
    pd.DataFrame(measured).to_csv(tmp_path / "real_faces_net_claims_losses.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_holds_the_means_over_seeds(results: Path, language: str) -> None:
    page = render((ROOT / "course" / language / "real_faces.md").read_text(encoding="utf-8"), results, language)
    assert {"en": "| Not trained at all | 60.0\u00a0±", "zh": "| 未经训练 | 60.0\u00a0±"}[language] in page
    assert "| Softmax | 82.0\u00a0±\u00a01.4 |  |  |  |  |  |" in page
    assert "| Softmax | 2 | 82.00 [10.0, 10.0] | 1.41 | 50.00 | 20.00 [10.0, 10.0] | 60.0 [10.0, 10.0] |" in page
    assert "| LBP + JB | 1 | 88.00 [10.0, 10.0] |  | 50.00 |" in page
    assert "−6.00 [−8.00, −4.00] | < 0.001 | 0.020 |" in page
    assert "| 2 | 11.0 |" in page
    assert "2 / 24" in page or "2 of 24" in page
    better, open_, worse = {"en": ("better", "open", "worse"), "zh": ("更好", "未定", "更差")}[language]
    line = f"| 12 | ArcFace − NormFace | −0.50 [−0.75, −0.25] | {better} | +1.50 [+1.25, +1.75] | {open_} |"
    assert page.count(line) == 2  # of the matrix, and of the net
    assert "| ArcFace | `scale=8` | 0.01 | 8.00 | 12.00 | 30.0 |" in page
    assert "| ArcFace | `scale=16` | 0.01 | 16.00 |  |  |" in page
    assert f"| Softmax † | −0.50 [−0.75, −0.25] | {worse} |" in page
    assert "| ArcFace | `scale=8` | 0.01 | 8.00 | 12.00 | 1.41 | 30.0 | 4.0 |" in page


def test_both_languages_have_the_same_numbers_and_sections() -> None:
    pages = [(ROOT / "course" / language / "real_faces.md").read_text(encoding="utf-8") for language in LANGUAGES]
    tables = [[re.findall(r"\d+\.\d+", row) for row in page.split("\n") if row.startswith("|")] for page in pages]
    assert tables[0] == tables[1]
    assert pages[0].count("\n## ") == pages[1].count("\n## ")


def test_a_marker_that_names_no_section_is_refused(results: Path) -> None:
    with pytest.raises(ValueError, match="sections: found amiss claims, classical"):
        render("<!-- real:count -->\n<!-- /real -->\n<!-- real:typo -->\n<!-- /real -->", results, "en")
