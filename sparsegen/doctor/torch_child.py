"""Run in a process of its own: asks torch what it is, which OpenMP it loads, and our native part to load."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparsegen.doctor.child import tell
from sparsegen.doctor.openmp import mapped_libraries
from sparsegen.doctor.torch_build import TorchBuild


def build() -> TorchBuild:
    """The torch that is installed."""
    import torch  # here, for it may be missing

    backends: Any = torch.backends
    accelerator = ""
    if torch.version.cuda:
        accelerator = f"CUDA {torch.version.cuda}"
    elif torch.version.hip:
        accelerator = f"ROCm {torch.version.hip}"
    return TorchBuild(
        version=torch.__version__,
        accelerator=accelerator,
        gpus=torch.cuda.device_count() if accelerator else 0,
        vectors=backends.cpu.get_cpu_capability(),
        onednn=backends.mkldnn.is_available(),
        openmp=backends.openmp.is_available(),
        threads=torch.get_num_threads(),
    )


def main() -> None:
    """Tell the build, then whether our native part loads beside it, then the OpenMP libraries."""
    from sparsegen.errors import SparsegenError

    tell(torch=asdict(build()))
    from sparsegen.runtime import bindings

    try:
        bindings.library()
        tell(native="")
    except SparsegenError as error:
        tell(native=str(error))
    tell(openmp=mapped_libraries(Path("/proc/self/maps").read_text()))


if __name__ == "__main__":
    main()
