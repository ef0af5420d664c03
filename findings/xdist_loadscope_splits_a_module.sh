#!/usr/bin/env bash
# pytest-xdist 3.8.0 with pytest 9.1.1: `--dist loadscope` sets a module's fixture up once for each class in the module.
#
# Seen: a module with two functions and two classes of tests and a fixture of scope "module": with `loadscope` its groups
# (the functions, each class) go to three workers, and the fixture is made three times; with `loadfile` once. The manual
# says so (grouped "by module for test functions and by class for test methods"); the name suggests the fixture's scope.
# Why it matters: a fixture that takes minutes (a site that is built, a server that is started) is paid for again by each
# class. Two classes had doubled a test run from four minutes to seven.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pytest==9.1.1 pytest-xdist==3.8.0
cat > "$folder/test_fixture.py" <<'END'
import os
import time

import pytest


@pytest.fixture(scope="module")
def site():
    with open(os.environ["LOG"], "a") as log:
        print(os.environ["PYTEST_XDIST_WORKER"], file=log)


def test_one(site):
    time.sleep(1)


def test_two(site):
    time.sleep(1)


class TestMore:
    def test_three(self, site):
        time.sleep(1)


class TestStillMore:
    def test_four(self, site):
        time.sleep(1)
END
made() {
  LOG="$folder/$1" "$folder/venv/bin/python" -m pytest -q -n 3 --dist "$1" -p no:cacheprovider "$folder/test_fixture.py" >&2
  wc -l < "$folder/$1" | tr -d ' '
}
"$folder/venv/bin/pip" list 2>/dev/null | grep -i '^pytest'
scope=$(made loadscope)
file=$(made loadfile)
echo "fixture made: $scope times with loadscope, $file with loadfile"
[ "$scope" = 3 ] && [ "$file" = 1 ] || { echo "the behaviour has changed" >&2; exit 1; }
