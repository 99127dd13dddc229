"""Makes the environment of every engine in this folder; one that cannot be installed leaves its reason.

    python bench/peers/make.py

An engine is a folder with `requirements.txt` and `engine.py` (see `serve.py`); its environment is `.venv`
in it, and why it has none is in `.failed`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    for engine in sorted(path.parent for path in HERE.glob("*/engine.py")):
        requirements, made = engine / "requirements.txt", engine / ".venv" / "made"
        if made.exists() and made.read_text() == requirements.read_text():
            print(f"{engine.name}: there")
            continue
        failure = install(engine, requirements)
        if failure is None:
            made.write_text(requirements.read_text())
            (engine / ".failed").unlink(missing_ok=True)
            print(f"{engine.name}: installed")
        else:
            shutil.rmtree(engine / ".venv", ignore_errors=True)
            (engine / ".failed").write_text(failure)
            print(f"{engine.name}: cannot be installed: {failure}")


def install(engine: Path, requirements: Path) -> str | None:
    """Make the engine's environment anew; return why that failed."""
    folder = engine / ".venv"
    venv.create(folder, clear=True, with_pip=True)
    python = str(folder / "bin" / "python")
    for command in (
        ["-m", "pip", "install", "--quiet", "-r", str(requirements)],
        [str(engine / "engine.py")],
    ):
        run = subprocess.run([python, *command], capture_output=True, text=True, check=False)
        if run.returncode:
            return (run.stderr.strip() or f"exit status {run.returncode}").splitlines()[-1]
    return None


if __name__ == "__main__":
    sys.exit(main())
