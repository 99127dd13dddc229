"""`sparsegen devices`: this machine's devices, and tables of others with the sources of their numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsegen.cli.options import JsonFile


def devices(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A table that comes with sparsegen, or a file (.toml) with a table or with devices.",
            show_default="this machine, and all tables in short",
            metavar="TABLE",
        ),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Show this machine's devices and the tables of others, or all numbers of TABLE with their sources."""
    from json import dumps

    from rich.console import Console

    from sparsegen.devices import load_devices, show, table, tables, this_machine
    from sparsegen.devices.device_files import has_devices
    from sparsegen.devices.table_files import is_path
    from sparsegen.files import write_file
    from sparsegen.outputs import check_outputs

    check_outputs({"--json": json}, reads={"TABLE": None if name is None else Path(name)})
    console = Console()
    if name is None:
        machine = this_machine()
        show.print_machine(machine, console)
        show.print_missing(machine, console)
        show.print_tables(tables(), console)
        content = show.machine_as_data(machine)
        content["tables"] = [show.as_data(each) for each in tables().values()]
    elif is_path(name) and has_devices(name):
        machine = load_devices(name, present=False)
        show.print_machine(machine, console)
        content = show.machine_as_data(machine)
    else:
        profile = table(name)
        show.print_table(profile, console)
        content = show.as_data(profile)
    if json is not None:
        write_file(json, dumps({"schema": 1, **content}, indent=2) + "\n")
