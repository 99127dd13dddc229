"""`sparsegen doctor`: what this machine and this install let sparsegen do, and what to mend."""

from __future__ import annotations

import typer

from sparsegen.cli.options import JsonFile


def doctor(json: JsonFile = None) -> None:
    """Look at CPU, system, gcc, packages and folders: what each means for sparsegen, and what to do next.

    It takes about two seconds, needs no network, and exits with 1 where models cannot be compiled.
    """
    from json import dumps

    from rich.console import Console

    from sparsegen.doctor.examination import examine
    from sparsegen.doctor.finding import as_data, worst
    from sparsegen.doctor.show import print_findings
    from sparsegen.files import write_file
    from sparsegen.outputs import check_outputs

    check_outputs({"--json": json})
    findings = examine()
    print_findings(findings, Console())
    if json is not None:
        write_file(json, dumps(as_data(findings), indent=2) + "\n")
    if worst(findings) == "broken":
        raise typer.Exit(1)
