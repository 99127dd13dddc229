"""Options as records: defaults, changes by name, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sparsegen.compare.options import CompareOptions
from sparsegen.errors import OptionError
from sparsegen.inspection.options import InspectOptions
from sparsegen.options import ModelOptions
from sparsegen.pruning.options import PruneOptions

RECORDS: tuple[ModelOptions, ...] = (CompareOptions(), InspectOptions(), PruneOptions(method="magnitude"))


@pytest.mark.parametrize("options", RECORDS, ids=lambda options: type(options).__name__)
def test_defaults_pass_and_changes_make_another_record(options: ModelOptions) -> None:
    options.check()
    changed = options.changed({"batch": 1, "input_shape": (1, 8, 8)})
    assert (changed.batch, changed.input_shape) == (1, (1, 8, 8))
    assert type(changed) is type(options)
    assert options.batch is None
    assert options.changed({}) == options


@pytest.mark.parametrize("options", RECORDS, ids=lambda options: type(options).__name__)
def test_an_unknown_option_is_told_with_those_there_are(options: ModelOptions) -> None:
    with pytest.raises(OptionError, match=r"there is no option 'bach': choose of batch, input_shape"):
        options.changed({"bach": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (CompareOptions(batch=0), "batch is 0: give at least 1"),
        (CompareOptions(threads=0), "threads is 0"),
        (CompareOptions(samples=-1), "samples is -1"),
        (CompareOptions(network=False, layers=None), "neither layers nor the network"),
        (CompareOptions(network=False, peers=("all",)), "peers run whole networks"),
        (InspectOptions(batch=0), "batch is 0"),
        (InspectOptions(threads=0), "threads is 0"),
        (PruneOptions(method="magnitude", batch=0), "batch is 0"),
    ],
)
def test_what_cannot_be_is_refused(options: ModelOptions, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        options.check()


def test_the_command_has_its_defaults_without_torch_and_tvm() -> None:
    program = (
        "import sys, sparsegen.options, sparsegen.compare.options, sparsegen.inspection.options\n"
        "print({'torch', 'tvm', 'numpy'} & sys.modules.keys())"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize("threads", [1.5, "2", True])
def test_a_count_that_is_no_whole_number_is_refused(threads: object) -> None:
    options = CompareOptions(threads=threads)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"threads is .*: give a whole number"):
        options.check()
