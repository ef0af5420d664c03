#!/usr/bin/env bash
# jsonschema 4.26.0 with its extra "format-nongpl", which jupyter-events asks for: every `import jsonschema` compiles 38
# grammars, whether a format is ever checked or not.
#
# Seen: two seconds of processor time for the import, ten times what 4.24.1 takes with the same extra. 4.25 added
# rfc3987-syntax 1.1.0 to the extra, which builds a parser for each rule of its grammar when it is imported, and jsonschema
# imports it. Expected: an optional check that costs nothing until it is used.
# Why it matters: JupyterLab brings jupyter-events, and nbformat imports jsonschema. So in an environment with JupyterLab
# each start of the server, of pytest with nbval, of jupytext, nbconvert or Sphinx with MyST-NB waits for it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 4.24.1 4.26.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet "jsonschema[format-nongpl]==$version" jupyter-events==0.12.1 nbformat==5.11.1
done
"$folder/4.26.0/bin/pip" show rfc3987-syntax lark | grep -E "^(Name|Version)"
python3 - "$folder" <<'END'
import resource
import subprocess
import sys


def seconds(version, module):
    """Processor time of the quickest of five starts that import it."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([f"{sys.argv[1]}/{version}/bin/python", "-c", f"import {module}"], check=True)
        times.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    return min(times)


for module in ("jsonschema", "nbformat"):
    old, new = seconds("4.24.1", module), seconds("4.26.0", module)
    print(f"import {module}: {old:.2f} s with jsonschema 4.24.1, {new:.2f} s with 4.26.0")
    assert new > 4 * old
code = "import sys, nbformat; print('rfc3987_syntax' in sys.modules)"
pythons = [f"{sys.argv[1]}/{version}/bin/python" for version in ("4.24.1", "4.26.0")]
loaded = [subprocess.check_output([python, "-c", code], text=True).strip() for python in pythons]
print("its grammars are loaded by nbformat:", *loaded)
assert loaded == ["False", "True"]
END
