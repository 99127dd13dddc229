"""The runtime installed alone, as users install it: from its folder, in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.artefact.networks import example, forms, saved
from tests.runtime.native.building import NATIVE

MADE = ("build", "*.so", "*.a", "*.egg-info", "__pycache__")
RUN = """
import sys
import numpy as np
import sparsegen_runtime
np.save(sys.argv[3], sparsegen_runtime.load(sys.argv[1])(np.load(sys.argv[2])))
"""


def test_a_new_environment_runs_a_model(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not request.config.getoption("--soak"):
        pytest.skip("it takes ten seconds and a package index: make soak runs it")
    source, environment = tmp_path / "native", tmp_path / "venv"
    shutil.copytree(NATIVE, source, ignore=shutil.ignore_patterns(*MADE))
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    install = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", source]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    packages = {line.split()[0] for line in listed.splitlines()[2:]}
    assert packages - {"pip", "setuptools"} == {"numpy", "sparsegen-runtime"}
    np.save(tmp_path / "x.npy", example().numpy())
    files = [saved(forms(), tmp_path), tmp_path / "x.npy", tmp_path / "y.npy"]
    # Isolated: what is installed is found, and nothing of this checkout.
    subprocess.run([python, "-I", "-c", RUN, *files], check=True, cwd=tmp_path)
    assert np.array_equal(np.load(tmp_path / "y.npy"), forms()(example()).numpy())
