"""Rivals in environments and processes of their own, on the same model as ONNX: found, started, timed.

A folder of peers holds `serve.py`, which says what is asked and answered, and a folder an engine: its
`engine.py`, its environment `.venv`, or `.failed`, why it has none.
"""

from __future__ import annotations

import importlib.util
import json
import os
import selectors
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from sparsegen.compare.accuracy import accuracy
from sparsegen.errors import EngineError, OptionError, ToolchainError
from sparsegen.progress import Steps

PEERS = Path(__file__).parents[2] / "bench" / "peers"
"""The folder of peers in a checkout."""

_OPSET = 14
_LIMIT_S = 900.0  # an engine may compile for minutes
_ENDING_S = 5.0  # of a process that has closed its pipes


def find_engines(names: Sequence[str], folder: Path) -> dict[str, Path]:
    """The folders of the engines of these names, or of `all`.

    Raises OptionError for an unknown one, and ToolchainError where there is no way to hand them a model.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ToolchainError("other engines take models as ONNX, for which onnx is missing: pip install onnx")
    found = {path.parent.name: path.parent for path in sorted(folder.glob("*/engine.py"))}
    if not found:
        raise OptionError(
            f"{folder} has no engines to compare with: run from a checkout of sparsegen, or name the folder"
        )
    if "all" in names:
        return found
    for name in names:
        if name not in found:
            raise OptionError(f"there is no engine {name!r} in {folder}: it has all, {', '.join(found)}")
    return {name: found[name] for name in names}


@contextmanager
def started(
    engines: Mapping[str, Path],
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    reference: Any,
    *,
    threads: int,
    steps: Steps,
) -> Iterator[tuple[dict[str, Engine], dict[str, str]]]:
    """Yield the engines by name, the model loaded, and why others take no part; end them all afterwards.

    `reference` is the model's result in float64, which an engine's has to come close to.
    """
    running: dict[str, Engine] = {}
    absent: dict[str, str] = {}
    with ExitStack() as stack, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            files = _exchange_files(model, inputs, folder) if engines else []
        except EngineError as failure:
            absent, engines = dict.fromkeys(engines, str(failure)), {}
        for engine, place in engines.items():
            steps.begin(f"starting {engine}")
            try:
                found = stack.enter_context(Engine(place, files, threads=threads))
                _check(found, reference, folder / "outputs.npz")
            except EngineError as failure:
                absent[engine] = str(failure)
            else:
                running[engine] = found
        yield running, absent


def _exchange_files(model: nn.Module, inputs: tuple[Tensor, ...], folder: Path) -> list[Path]:
    """The model as ONNX, and its inputs as `.npy` files; raise EngineError where that cannot be."""
    if not all(isinstance(each, Tensor) for each in inputs):
        raise EngineError("the model is called with what is no tensor, which engines do not take")
    path = folder / "model.onnx"
    files = [folder / f"input{number}.npy" for number in range(len(inputs))]
    try:
        export_onnx(model, inputs, path)
        for file, tensor in zip(files, inputs, strict=True):
            np.save(file, tensor.numpy())
    except OSError as failure:
        raise EngineError(f"the model and its inputs cannot be written: {failure.strerror}") from failure
    return [path, *files]


def export_onnx(model: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    """Write a model as the ONNX that all engines read; raises EngineError where it cannot be said so."""
    with warnings.catch_warnings():  # of the exporter, about itself
        warnings.simplefilter("ignore")
        # The exporter that traces: what it writes is what the oldest of the engines reads.
        try:
            torch.onnx.export(model, inputs, str(path), opset_version=_OPSET, dynamo=False)
        except torch.onnx.OnnxExporterError as failure:
            reason, *_ = str(failure).splitlines() or [type(failure).__name__]
            raise EngineError(f"the model cannot be exported to ONNX: {reason}") from failure


def _check(engine: Engine, reference: Any, file: Path) -> None:
    outputs, exact = engine.outputs(file), _pytree.tree_leaves(reference)
    shapes, wanted = ([tuple(each.shape) for each in tensors] for tensors in (outputs, exact))
    if shapes != wanted:
        raise EngineError(f"its outputs have shapes {shapes}, and the model's have {wanted}")
    found = accuracy(outputs, exact)
    if not found.passes:
        raise EngineError(f"its result differs from float64 by {found.relative_error:.0e}")


class Engine:
    """An engine with a model loaded, in a process that is stopped whenever it is not its turn.

    Stopped, so that its threads, which may wait for more work in busy loops, take no core from others.
    """

    def __init__(self, folder: Path, files: Sequence[Path], *, threads: int) -> None:
        """Start the engine and load a model, the first file, for inputs, the others.

        Raises EngineError where it cannot.
        """
        self.failure: str | None = None
        model, *inputs = files
        python = python_of(folder)
        # As long open as the process runs.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [python, folder.parent / "serve.py", folder / "engine.py"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment(threads),
            )
        except OSError as error:
            self._errors.close()
            raise EngineError(f"it cannot be started: {error.strerror}") from error
        try:
            asked = {"load": str(model), "inputs": [str(path) for path in inputs], "threads": threads}
            self.version = str(self._ask(asked)["version"])
        except BaseException:
            self.close()
            raise

    def seconds(self) -> float:
        """Run the model twice and return the time of the second run.

        Raises EngineError where that fails: then `failure` tells why, and the process is ended.
        """
        try:
            return float(self._ask({"time": True})["seconds"])
        except EngineError as error:
            self.failure = f"it failed while it was timed: {error}"
            self.close()
            raise

    def outputs(self, file: Path) -> list[Tensor]:
        """Run the model and return its outputs, which come by way of `file`."""
        self._ask({"save": str(file)})
        with np.load(file) as arrays:
            return [torch.from_numpy(arrays[name]) for name in arrays.files]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                with suppress(BrokenPipeError):  # of a question that nobody read
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.send_signal(signal.SIGCONT)
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            line = _read_line(process.stdout)
        except BrokenPipeError:
            line = b""
        if not line:
            raise EngineError(self._why_it_ended())
        process.send_signal(signal.SIGSTOP)
        try:
            answer: dict[str, Any] = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise EngineError(f"its answer cannot be read: {line[:80]!r}") from error
        if "error" in answer:
            raise EngineError(str(answer["error"]).splitlines()[0])
        return answer

    def _why_it_ended(self) -> str:
        try:
            status = self._process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:  # it runs on without its pipes
            self._process.kill()
            status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"its process ended with status {status}" + (f": {lines[-1]}" if lines else "")


def _read_line(pipe: IO[bytes]) -> bytes:
    """A line of an answer, which comes whole; nothing where the process has ended."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        if not selector.select(_LIMIT_S):
            raise EngineError(f"no answer within {_LIMIT_S:.0f} s")
    return pipe.readline()


def python_of(folder: Path) -> Path:
    """The Python of an engine's environment; raises EngineError, which says why, where there is none."""
    python = folder / ".venv" / "bin" / "python"
    if python.exists():
        return python
    failed = folder / ".failed"
    raise EngineError(
        f"it could not be installed: {failed.read_text().strip()}"
        if failed.exists()
        else "it is not installed: `make peers` does that"
    )


def environment(threads: int) -> dict[str, str]:
    """Ours, without what would lead another Python to our packages."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**inherited, "OMP_NUM_THREADS": str(threads)}
