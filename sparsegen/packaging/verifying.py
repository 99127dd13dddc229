"""Whether a file of a model is whole: every checksum, every number of its plans."""

from __future__ import annotations

from pathlib import Path

from sparsegen_runtime import NeedsTorchError, TargetError
from sparsegen_runtime import load as load_alone
from sparsegen_runtime.sections import Sections

from sparsegen.wording import threads_phrase


def verify_file(path: Path) -> list[str]:
    """Check all of a file; tells what it holds, and whether it runs here. Raises ProgramError for damage."""
    runs = "runs on this machine"
    try:
        load_alone(path, verify=True).close()
    except NeedsTorchError:
        runs = "needs torch, which sparsegen.load imports"
    except TargetError as error:
        runs = f"does not run here: {str(error).removeprefix(f'{path}: ')}"
    manifest = Sections(path).manifest
    lines = [
        f"{each['target']}, {threads_phrase(each['threads'])}"
        + ("" if each["batch"] is None else f", batch {each['batch']}")
        for each in manifest["variants"]
    ]
    return [*lines, f"{path} is whole: {len(manifest['sha256'])} sections as their checksums say; it {runs}"]
