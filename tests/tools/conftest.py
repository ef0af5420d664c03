"""One made-up project, written once and copied for each test."""

import shutil

import pytest

from tests.tools import made_up


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    return made_up.make(tmp_path_factory.mktemp("made_up")).root


@pytest.fixture
def project(template, tmp_path):
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return made_up.Project(tmp_path)
