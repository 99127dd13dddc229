"""Options as records: defaults, changes by name, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from sparsegen.compare.options import CompareOptions
from sparsegen.errors import OptionError
from sparsegen.inspection.options import InspectOptions
from sparsegen.options import (
    ModelOptions,
    check_approximate,
    check_batches,
    check_count,
    check_thread_count,
)
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


def test_numbers_of_numpy_become_pythons_own() -> None:
    options = CompareOptions(batch=np.int64(2), threads=np.int32(1), input_shape=(np.int64(3), 8, 8))
    options.check()
    assert json.loads(json.dumps([options.batch, options.threads, options.input_shape])) == [2, 1, [3, 8, 8]]
    found = [
        *check_batches(np.arange(1, 3).tolist()),
        *check_batches([np.int64(4)]),
        check_count("n", np.int8(3), 1),
    ]
    found += [check_thread_count(np.uint16(2)), PruneOptions(rows=np.int64(5)).rows]
    assert found == [1, 2, 4, 3, 2, 5]
    assert {type(each) for each in found} == {int}
    assert check_approximate(np.float32(0.5)) == 0.5
    assert check_approximate({"gelu": np.float64(0.5)}) == {"gelu": 0.5}
    assert check_approximate(None) is None
