"""Problems of one's own, by where they are written."""

import functools
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from ._problem import Problem

_TO_SET = tuple(name for name in Problem.__annotations__ if not hasattr(Problem, name))


@functools.cache
def problem_at(place: str) -> Problem:
    """The problem that a file or a module holds; the same object for the same place, so that it is compiled once.

    Runs what is written there: for places that the person at this machine gave, never for one out of a link or a file.

    **Arguments:**

    - `place`: "FILE.py:NAME" or "package.module:NAME". The name is a `Problem`, or a class of them that is made without
      arguments.

    **Raises:** `ValueError` in words.
    """
    source, _, name = place.rpartition(":")
    if not source or not name.isidentifier():
        raise ValueError(f"`problem` must be FILE.py:NAME or package.module:NAME; got {place!r}.")
    module = _module(source)
    if not hasattr(module, name):
        raise ValueError(f"{source} has no {name}. {_offered(module)}")
    found: Any = getattr(module, name)
    if not isinstance(found, Problem) and not _is_kind(found):
        raise ValueError(f"{name} of {source} must be a Problem; got {type(found).__name__}. {_offered(module)}")
    return complete_problem(found, f"{name} of {source}", source)


def complete_problem(found: Problem | type[Problem], words: str, source: str = "") -> Problem:
    """A problem, or that of a class of them, made once, if it says all that a problem must say.

    **Arguments:**

    - `words`: what it is called in messages. `source`: the file that it comes from, if it is one.

    **Raises:** `ValueError` in words.
    """
    if isinstance(found, type) and issubclass(found, Problem):
        try:
            found = found()
        except Exception as error:
            raise ValueError(f"{words} could not be made: {_words(error, source)}") from error
    if not isinstance(found, Problem):
        raise ValueError(f"{words} must be a Problem, or a class of them; got {type(found).__name__}.")
    missing = [each for each in _TO_SET if not hasattr(found, each)]
    if missing:
        raise ValueError(f"{words} must set {', '.join(missing)}; see Problem for what they are.")
    return found


def _is_kind(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Problem)


def _module(source: str) -> ModuleType:
    try:
        if not source.endswith(".py"):
            return importlib.import_module(source)
        file = Path(source)
        if not file.is_file():
            raise ValueError(f"There is no file {source}.")
        spec = importlib.util.spec_from_file_location(f"prdp_explorer_own_{file.stem}", file)
        if spec is None or spec.loader is None:
            raise ValueError(f"{source} is no file of Python.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses, and so Equinox's modules, look themselves up there
        sys.path.insert(0, str(file.parent.resolve()))  # what lies beside it can be imported, as of a script
        spec.loader.exec_module(module)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{source} could not be read: {_words(error, source)}") from error
    return module


def _words(error: Exception, source: str) -> str:
    """What went wrong, and in which line of the source."""
    frames = traceback.extract_tb(error.__traceback__) if source else ()
    lines = [frame.lineno for frame in frames if frame.filename.endswith(source)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}{'' if line is None else f' in line {line}'}: {text}"


def _offered(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if isinstance(value, Problem) or (_is_kind(value) and value.__module__ == module.__name__)
    ]
    return f"It has {', '.join(names)}." if names else "It has no problem."
