"""A reader's way: `make lab` on a copy of the course, a chapter opened in a real browser, all cells run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from selenium import webdriver

from tests.browsers import chromium, needs_chromium, wait

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "facelearn"
DECIDES = ("requirements.txt", "constraints.txt", "pyproject.toml")  # what `make setup` installs


def installed() -> bool:
    """Is .venv what `make lab` would leave as it is? Else a copy of the course would install itself into it."""
    done = ROOT / ".venv" / ".installed"
    return done.exists() and all((ROOT / name).stat().st_mtime <= done.stat().st_mtime for name in DECIDES)


pytestmark = [
    *needs_chromium,
    pytest.mark.skipif(not installed(), reason="needs the .venv of `make setup`, as it is now"),
]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def lab_command(port: int) -> list[str]:
    arguments = f"--no-browser --allow-root --IdentityProvider.token={TOKEN} --LabApp.expose_app_in_browser=True"
    return ["make", "lab", "HOST=127.0.0.1", f"PORT={port}", f"ARGS={arguments}"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The parts that `make lab` needs, so that a test run never saves over the stored notebooks."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("course", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("Makefile", *DECIDES):
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A fresh profile, as a newcomer has."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def lab(copy, home) -> Iterator[str]:
    port = free_port()
    environment = os.environ | {
        "FACELEARN_BUDGET": "smoke",
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "FACELEARN_PROGRESS_FILE": str(home / "progress.json"),
    }
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            lab_command(port), cwd=copy, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield wait_until_up(f"http://127.0.0.1:{port}", server, home / "log")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def wait_until_up(url: str, server: subprocess.Popen, log: Path) -> str:
    for _ in range(120):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{url}/api/status?token={TOKEN}", timeout=5)
            return url
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise AssertionError(f"make lab did not come up:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[webdriver.Chrome]:
    """One with a profile of its own that notes every request."""
    profile = tmp_path_factory.mktemp("chromium")
    with chromium("--window-size=1300,1600", f"--user-data-dir={profile}", log="performance") as driver:
        driver.set_script_timeout(400)
        yield driver


OPENED = """
const [path, place] = arguments;
const app = window.jupyterapp;
await app.restored;
const panel = await app.commands.execute('docmanager:open', {path, factory: 'Notebook'});
await panel.context.ready;
await panel.sessionContext.ready;
app.shell.activateById(panel.id);
"""
RUN_ALL = (
    OPENED
    + """
await app.commands.execute('notebook:run-all-cells');
const code = [...panel.content.model.cells].filter(cell => cell.type === 'code').map(cell => cell.toJSON());
const outputs = code.flatMap(cell => cell.outputs);
done({
  counts: code.filter(cell => cell.source.trim ? cell.source.trim() : cell.source.length).map(c => c.execution_count),
  errors: outputs.filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue),
  figures: outputs.filter(o => o.data && ('image/png' in o.data || 'image/gif' in o.data)).length,
  text: outputs.filter(o => o.name === 'stdout').map(o => [].concat(o.text).join('')).join('\\n'),
});
"""
)
SHOWN_FIGURE = """
const panel = [...window.jupyterapp.shell.widgets('main')].find(widget => widget.content?.widgets);
const cells = panel.content.widgets;
const first = cells.findIndex(c => c.model.type === 'code'
  && c.model.toJSON().outputs.some(o => o.data && 'image/png' in o.data));
const done = arguments[0];
await panel.content.scrollToItem(first, 'start');
setTimeout(() => {
  const images = [...panel.node.querySelectorAll('.jp-RenderedImage img')];
  done({shown: images.filter(i => i.complete && i.naturalWidth > 100).length, cells: cells.length});
}, 1500);
"""


def run_async(browser: webdriver.Chrome, script: str, *arguments: object) -> dict:
    """The script as an async function; whatever it throws comes back instead of a time-out."""
    done = "const done = arguments[arguments.length - 1];"
    wrapped = f"{done} const args = [...arguments]; (async function() {{ {script} }}).apply(null, args)"
    return browser.execute_async_script(wrapped + ".catch(e => done({thrown: String(e)}));", *arguments)


def requested_hosts(browser: webdriver.Chrome) -> set[str]:
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return {url.split("/")[2].split(":")[0] for url in urls if url.startswith(("http", "ws"))}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_chapter_12_runs_in_the_browser(lab, browser, language):
    browser.get(f"{lab}/lab?token={TOKEN}&reset")
    wait(browser, lambda b: b.execute_script("return Boolean(window.jupyterapp)"), 90)
    seen = run_async(browser, RUN_ALL, f"{language}/12_arcface.ipynb")
    assert seen.get("thrown") is None, seen["thrown"]
    assert seen["errors"] == []
    assert seen["counts"] == list(range(1, len(seen["counts"]) + 1))
    assert len(seen["counts"]) > 10
    assert seen["figures"] >= 4
    assert "smoke" in seen["text"]
    assert run_async(browser, SHOWN_FIGURE)["shown"] >= 1
    assert requested_hosts(browser) <= {"127.0.0.1"}, "a request left the machine"


FOLLOWED = (
    OPENED
    + """
const until = async found => {
  for (let i = 0; i < 600 && !found(); i++) await new Promise(resume => setTimeout(resume, 200));
};
const link = () => panel.node.querySelector(`a[href="#${place}"]`);
const target = () => panel.node.querySelector(`[data-jupyter-id="${place}"]`);
const shown = () => {
  const [box, page] = [target(), panel.content.node].map(node => node.getBoundingClientRect());
  return box.top >= page.top - 5 && box.top < page.bottom;
};
await until(() => link() && target());  // cells are drawn one after the other
const before = shown();
link().click();
await until(shown);
done({before, after: shown()});
"""
)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_table_of_the_toolkit_leads_to_its_sections(lab, browser, language):
    browser.get(f"{lab}/lab?token={TOKEN}&reset")
    wait(browser, lambda b: b.execute_script("return Boolean(window.jupyterapp)"), 90)
    assert run_async(browser, FOLLOWED, f"{language}/A_toolkit.ipynb", "tool-7") == {"before": False, "after": True}


PROBE = """\
from facelearn import check
from torch.nn.functional import one_hot
def gradient(logits, labels, epsilon):
    classes = logits.shape[1]
    return (logits.softmax(1) - (1 - epsilon) * one_hot(labels, classes) - epsilon / classes) / len(logits)
check.softmax.ex1(gradient)
check.softmax.ex2(lambda logits, labels: logits.sum())
print(check.progress())
"""


@pytest.mark.parametrize("language", ["en", "zh"])
def test_checks_speak_the_language_of_the_folder_and_remember_a_pass(lab, browser, copy, home, language):
    """In JupyterLab the kernel works in the notebook's folder, and says that a person is there."""
    cell = nbformat.v4.new_code_cell(PROBE)
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    book = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    nbformat.write(book, copy / "course" / language / "probe.ipynb")
    (home / "progress.json").unlink(missing_ok=True)
    browser.get(f"{lab}/lab?token={TOKEN}&reset")
    wait(browser, lambda b: b.execute_script("return Boolean(window.jupyterapp)"), 90)
    seen = run_async(browser, RUN_ALL, f"{language}/probe.ipynb")
    assert seen.get("thrown") is None, seen["thrown"]
    assert seen["errors"] == []
    first, second, *table = seen["text"].splitlines()
    assert first == "ex1: passed (visible checks)"
    assert any("\u4e00" <= c <= "\u9fff" for c in second) == (language == "zh")
    assert table[-1].endswith(str(home / "progress.json"))
    assert any(("已通过 1 项" if language == "zh" else "1 of") in line for line in table)
    assert list(json.loads((home / "progress.json").read_text())["passed"]) == ["softmax"]


def test_a_port_in_use_is_named(copy):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = subprocess.run(lab_command(port), cwd=copy, capture_output=True, text=True, timeout=120)
    assert result.returncode != 0
    assert str(port) in result.stdout + result.stderr
    assert "not available" in result.stdout + result.stderr or "in use" in result.stdout + result.stderr
