"""Ahead-of-time compilation, and executables kept on disk so that a second process neither traces nor compiles."""

import hashlib
import logging
import os
import platform
import struct
import threading
import uuid
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jaxlib
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

CACHE_VARIABLE = "PRDP_EXPLORER_CACHE"
"""Environment variable that names the folder of what was compiled; empty keeps nothing."""

FILES_KEPT = 200

_COUNTS = struct.Struct("<II")
"""What a file begins with: the numbers of arguments and of results, as flat arrays."""

logger = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """The folder of what was compiled, made if need be; None if nothing is to be kept.

    What lies there is run as it is, so it must belong to this user and be writable by nobody else.
    """
    named = os.environ.get(CACHE_VARIABLE, str(Path.home() / ".cache" / "prdp_explorer"))
    if not named or not _setting("jax_enable_compilation_cache"):
        return None
    folder = Path(named)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    foreign = hasattr(os, "getuid") and status.st_uid != os.getuid()
    return None if foreign or (os.name == "posix" and status.st_mode & 0o022) else folder


def use_persistent_cache() -> None:
    """Let JAX keep what it compiles, unless its own settings already say where."""
    folder = cache_folder()
    if folder is None or _setting("jax_compilation_cache_dir") is not None:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()  # it looks for its folder once, perhaps before this


def _setting(name: str) -> Any:
    return getattr(jax.config, name)


class Program:
    """A function compiled ahead of time, once, in this process or an earlier one.

    Making one begins to load what an earlier process stored, in a thread of its own; `compiled` then takes that or
    compiles.

    **Arguments:**

    - `identity`: words that together with the sources of this package, the versions and the machine decide what is
      compiled; None if nothing does, as for a problem of one's own, which then is not kept on disk.
    """

    def __init__(self, identity: Iterable[str] | None):
        self._file = None if identity is None else _file(identity)
        self._loaded: Any = None
        self._loading = threading.Thread(target=self._load, name="prdp-load", daemon=True)
        self._loading.start()

    def compiled(
        self,
        function: Callable[..., Any],
        shapes: tuple[Any, ...],
        result: Any,
        *,
        donate_first: bool = False,
        options: dict[str, str | bool] | None = None,
    ) -> Callable[..., Any]:
        """`function` compiled for arguments of these shapes.

        **Arguments:**

        - `shapes`: the arguments, as pytrees of arrays or of their shapes.
        - `result`: the structure of what `function` returns (`jax.tree.structure`).
        - `donate_first`: whether the memory of the first argument may be reused.
        - `options`: of XLA.
        """
        leaves, arguments = jax.tree.flatten(shapes)
        # Flat, since the trees of equinox's modules cannot be stored.
        donated = tuple(range(len(jax.tree.leaves(shapes[0])))) if donate_first else ()

        def flat(*values: Any) -> tuple[Any, ...]:
            return tuple(jax.tree.leaves(function(*jax.tree.unflatten(arguments, values))))

        self._loading.join()
        executable = self._loaded
        if executable is None:
            if self._file is not None:
                # An executable that JAX's own cache answers with is incomplete once stored again (XLA then misses
                # functions when it runs). A name of its own keeps that cache from knowing it.
                flat.__name__ = f"program_{uuid.uuid4().hex}"
            executable = jax.jit(flat, donate_argnums=donated).lower(*leaves).compile(options)
            self._store(executable, len(leaves), result.num_leaves)

        def call(*values: Any) -> Any:
            return jax.tree.unflatten(result, executable(*jax.tree.leaves(values)))

        return call

    def _load(self) -> None:
        if self._file is None or not self._file.exists():
            return
        try:
            stored = self._file.read_bytes()
            num_arguments, num_results = _COUNTS.unpack(stored[: _COUNTS.size])
            self._loaded = serialize_executable.deserialize_and_load(
                stored[_COUNTS.size :],
                jax.tree.structure(((0,) * num_arguments, {})),
                jax.tree.structure((0,) * num_results),
            )
        except Exception as error:  # whatever is wrong with a file that only saves time: compile instead
            logger.info("%s could not be loaded: %s", self._file, error)

    def _store(self, executable: Any, num_arguments: int, num_results: int) -> None:
        if self._file is None:
            return
        folder = self._file.parent
        part = folder / f"{uuid.uuid4().hex}.part"
        try:
            payload, _, _ = serialize_executable.serialize(executable)
            part.write_bytes(_COUNTS.pack(num_arguments, num_results) + payload)
            part.replace(self._file)  # at once or not at all
            for old in sorted(folder.glob("*.executable"), key=lambda path: path.stat().st_mtime)[:-FILES_KEPT]:
                old.unlink(missing_ok=True)
        except (OSError, ValueError) as error:  # a full disk, or a backend that cannot: nothing is lost but time
            logger.info("%s could not be stored: %s", self._file, error)
        finally:
            part.unlink(missing_ok=True)


def _file(identity: Iterable[str]) -> Path | None:
    folder = cache_folder()
    if folder is None:
        return None
    words = [*_environment(), str(_setting("jax_enable_x64")), *identity]
    return folder / f"{hashlib.sha256(repr(words).encode()).hexdigest()[:32]}.executable"


@cache
def _environment() -> tuple[str, ...]:
    """What compiled code depends on beside its program: sources, versions, machine, flags."""
    sources = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        if "dashboard" not in path.parts:
            sources.update(path.read_bytes())
    device = jax.devices()[0]
    try:
        processor = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        processor = platform.processor()
    return (
        sources.hexdigest(),
        jax.__version__,
        jaxlib.__version__,
        device.platform,
        device.device_kind,
        platform.machine(),
        processor,
        os.environ.get("XLA_FLAGS", ""),
        str(_setting("jax_default_matmul_precision")),
    )
