"""What a saved model needs to run: NumPy. Neither torch nor TVM, nor any other package of the compiler's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sparsegen
from tests.runtime.artefact.networks import example, forms, saved

ROOT = Path(sparsegen.__file__).parents[1]

ALONE = """
import sys
sys.path[:0] = {paths!r}

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ({allowed!r}, "numpy", *sys.stdlib_module_names):
            raise ImportError(f"{{name}} was asked for")

sys.meta_path.insert(0, Refused())
import numpy
import {package}
model = {package}.load({file!r})
numpy.save({result!r}, model(numpy.load({inputs!r})))
"""


@pytest.mark.parametrize("package", ["sparsegen_runtime", "sparsegen"])
def test_a_model_runs_with_numpy_alone(package: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", example().numpy())
    native = ROOT / "sparsegen/runtime/native"
    paths = [str(native), str(Path(np.__file__).parents[1]), *([str(ROOT)] if package == "sparsegen" else ())]
    program = ALONE.format(
        paths=paths,
        allowed="sparsegen_runtime",
        package=package,
        file=str(saved(forms(), tmp_path)),
        inputs=str(tmp_path / "x.npy"),
        result=str(tmp_path / "y.npy"),
    )
    if package == "sparsegen":
        program = program.replace("not in (", "not in ('sparsegen', ")
    # Without site-packages, environment variables and the current folder: what is imported is named above.
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, cwd=tmp_path, env={"PATH": ""})
    assert np.array_equal(np.load(tmp_path / "y.npy"), forms()(example()).numpy())
