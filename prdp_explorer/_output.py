"""Where the command line writes to: files, and standard output."""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any


def check_writable(file: str | None, name: str = "`--json`") -> None:
    """Refuse a bad path before the work rather than after it, without touching the file. None and - are fine."""
    if file in (None, "-"):
        return
    path = Path(file)
    try:
        possible = not path.is_dir() and path.absolute().parent.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        possible = False
    if not possible:
        raise ValueError(f"{name} must be a file in an existing folder, or -; got {file!r}.")


def write_json(value: Any, file: str) -> None:
    """Write a value as JSON to a file, or to standard output for -."""
    write_text(json.dumps(_finite(value), indent=1, allow_nan=False) + "\n", file, "`--json`")


def write_text(text: str, file: str, name: str) -> None:
    """Write to a file, or to standard output for -. `name` is what a person calls the file."""
    if file == "-":
        sys.stdout.write(text)
        return
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{name} could not be written to {file!r}: {error.strerror}.") from None


def tell(options: argparse.Namespace, told: Any, words: str) -> int:
    """Say what was done: as JSON where that is wanted, and in words unless the JSON goes to standard output."""
    if options.json is not None:
        write_json(told, options.json)
    if words and options.json != "-":
        print(words)
    return 0


def _finite(value: Any) -> Any:
    """`value` with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
