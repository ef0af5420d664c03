"""The files around the code agree with each other."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(name: str) -> dict[str, Version]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    found = (re.fullmatch(r"([\w.\-]+)==([\w.]+)", line) for line in lines if line and not line.startswith("-"))
    return {m[1].lower().replace("_", "-"): Version(m[2]) for m in found if m}


def test_requirements_are_exact_pins_that_the_constraints_share():
    text = (ROOT / "requirements.txt").read_text()
    loose = [line for line in text.splitlines() if line and not re.match(r"#|-c constraints.txt$|[\w.\-]+==", line)]
    assert loose == []
    assert pins("requirements.txt").items() <= pins("constraints.txt").items()
    assert str(pins("requirements.txt")["torch"]) == "2.13.0"


@pytest.mark.parametrize("group", ["dependencies", *(g for g in PROJECT["optional-dependencies"] if g != "bench")])
def test_pins_lie_within_the_ranges_of_the_package(group):
    wanted = PROJECT["dependencies"] if group == "dependencies" else PROJECT["optional-dependencies"][group]
    for requirement in map(Requirement, wanted):
        assert pins("requirements.txt")[requirement.name.lower()] in requirement.specifier, requirement


def test_texts_name_the_oldest_torch():
    (oldest,) = (s.version for r in map(Requirement, PROJECT["dependencies"]) if r.name == "torch" for s in r.specifier)
    told = {
        "README.md": f"({oldest} or newer",
        "README.zh.md": f"（{oldest} 及以上",
        "CONTRIBUTING.md": f"torch\n{oldest}.0",
    }
    assert [name for name, words in told.items() if words not in (ROOT / name).read_text()] == []


def test_conda_environment_installs_the_same_pins():
    lines = [line.strip(" -") for line in (ROOT / "environment.yml").read_text().splitlines()]
    assert {"r requirements.txt", "e ."} <= set(lines)
    python = next(line for line in lines if line.startswith("python="))
    assert Version(python.removeprefix("python=")) >= Version(PROJECT["requires-python"].removeprefix(">="))
    assert [line for line in lines if "==" in line] == []  # no second list of pins


def test_every_folder_is_packaged_those_of_data_too():
    files = (p for p in (ROOT / "facelearn").rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    folders = {str(p.parent.relative_to(ROOT)).replace("/", ".") for p in files}
    assert set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]) == folders


def test_types_are_seen_where_the_package_is_installed_for_editing():
    """Type checkers follow a .pth file that names a folder; a finder that is code they do not run."""
    assert (ROOT / "facelearn" / "py.typed").exists()
    try:
        installed = [str(path) for path in importlib.metadata.files("facelearn") or ()]
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed")
    if any(path.endswith(".pth") for path in installed):
        assert not any("finder" in path for path in installed)


def test_licences_and_citation_agree_with_the_package():
    assert "MIT License" in (ROOT / "LICENSE").read_text()
    assert "Attribution 4.0" in (ROOT / "LICENSE-TEXT").read_text()
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {PROJECT['version']}\n" in citation
    assert PROJECT["urls"]["Repository"] in citation


def test_version_stands_once_more_in_the_package():
    import facelearn

    assert facelearn.__version__ == PROJECT["version"]


def test_ci_and_readme_call_the_same_command():
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("\nmake test")
    assert "bash .ci/run" in (ROOT / ".github" / "workflows" / "test.yml").read_text()
    for readme in ("README.md", "README.zh.md"):
        text = (ROOT / readme).read_text()
        assert "make lab" in text
        assert "make test" in text


def test_the_start_page_links_every_chapter_and_nothing_else():
    course = ROOT / "course"
    linked = set(re.findall(r"\(((?:en|zh)/\w+\.ipynb)\)", (course / "README.md").read_text()))
    assert linked == {str(p.relative_to(course)) for p in course.glob("[ez][nh]/*.ipynb")}
    for path in ((course / book).with_suffix(".md") for book in linked):
        title = next(line for line in path.read_text().splitlines() if line.startswith("# ")).removeprefix("# ")
        assert f"[{title}]({path.relative_to(course).with_suffix('.ipynb')})" in (course / "README.md").read_text()


def test_package_never_imports_the_course_and_losses_stand_alone():
    """The order of dependencies: losses know no data, no training, no plotting."""
    code = (
        "import sys, facelearn.losses; print([m for m in sys.modules if m.split('.')[0] in ('course', 'experiments', "
    )
    code += "'matplotlib', 'pandas', 'seaborn') or m.startswith(('facelearn.data', 'facelearn.training'))])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_nothing_is_unpickled_or_downloaded():
    """No pickle, no eval, no network in the package and the course's own code."""
    banned = re.compile(
        r"\bpickle\.loads?\b|weights_only=False|allow_pickle=True|(?<!def )(?<![\w.`])eval\([^)]|urlopen|requests\.get"
    )
    for path in [
        *(ROOT / "facelearn").rglob("*.py"),
        *(ROOT / "course").rglob("*.py"),
        *(ROOT / "tools").rglob("*.py"),
    ]:
        hits = [line for line in path.read_text().splitlines() if banned.search(line)]
        assert hits == [], path
