"""Read a table from a MATLAB file, in a process of its own.

Over a damaged file SciPy's reader may crash its process, or take all memory. Here that ends the
reading process alone, whose memory is limited.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

MEMORY = 2**30
"""Bytes that the reading process may take, of which Python and SciPy need a quarter."""

SECONDS = 60
"""How long it may read: a development kit's file takes less than one."""


def read_structs(path: Path, variable: str) -> dict[str, list[str | float | None]]:
    """Read an array of structs: the values of each field by its name, None if no text or number.

    Raises ValueError, with the reason, where the file cannot be read or has no such variable.
    """
    command = [sys.executable, "-P", __file__, str(path.absolute()), variable]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread takes memory
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise ValueError("damaged: reading it takes too long") from None
    if done.returncode < 0:
        raise ValueError("damaged: reading it ends in a crash")
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise ValueError(said.strip() or "damaged")
    fields: dict[str, list[str | float | None]] = json.loads(said)
    return fields


def _print_structs(path: str, variable: str) -> None:
    """Print the fields as JSON; end with status 1 after printing what is wrong."""
    import numpy as np
    from scipy.io import loadmat

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        variables = loadmat(path, squeeze_me=True, variable_names=[variable])
        structs = np.atleast_1d(variables[variable])
        names = structs.dtype.names or ()
        fields = {name: [_plain(value) for value in structs[name]] for name in names}
        print(json.dumps(fields))
    except Exception as error:  # loadmat raises errors of many types for a damaged file
        print(" ".join(str(error).split()) or type(error).__name__)
        raise SystemExit(1) from None


def _plain(value: Any) -> str | float | None:
    """Give a text or a real number as JSON has it; None for anything else."""
    if isinstance(value, str):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


if __name__ == "__main__":
    _print_structs(*sys.argv[1:])
