"""The compiled functions and the data of a trainer, timed, and shared by all runs that they fit."""

import functools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..problems import Problem, built_in_name
from ._epoch import RECORD_TYPES, Steering, Trainer, TrainingState
from ._executables import Program, use_persistent_cache

PROGRAMS_KEPT = 32

RUN_ONCE: dict[str, str | bool] = {"xla_backend_optimization_level": "0"}
"""Options of XLA: what runs once is compiled in a third of the time without optimisation."""


class Programs:
    """What a run needs compiled, and its data.

    **Attributes:**

    - `init`, `advance`: the functions of `Trainer`, compiled.
    - `data`: training and validation data on the device.
    - `setup_seconds`: of the data and of `init`. `compile_seconds`: of `advance`.
    """

    init: Callable[..., TrainingState]
    advance: Callable[..., tuple[TrainingState, Mapping[str, jax.Array]]]

    def __init__(self, trainer: Trainer, steering: Steering):
        use_persistent_cache()
        began = time.perf_counter()
        name = built_in_name(trainer.problem)
        self._trainer = trainer
        # A problem of one's own has no name that would outlive this process.
        self._identity = None if name is None else (name, trainer.words, str(jax.tree.structure(steering)))
        self._fields: tuple[tuple[str, ...], Callable[..., Any]] | None = None
        self._lock = threading.Lock()
        init, advance = self._program("init"), self._program("advance")
        warming = threading.Thread(target=_warm_up, name="prdp-warm-up", daemon=True)
        warming.start()
        seed = jax.ShapeDtypeStruct((), jnp.uint32)
        epochs = jax.ShapeDtypeStruct((), jnp.int32)
        self.data = _on_device(trainer.problem)
        state = jax.eval_shape(trainer.init, seed, steering)
        structure = jax.tree.structure(state)
        with ThreadPoolExecutor(1) as other:  # two cores
            precision = jnp.result_type(float) == jnp.float64  # of this thread

            def initialise() -> Callable[..., Any]:
                with jax.enable_x64(precision):
                    return init.compiled(trainer.init, (seed, steering), structure, options=RUN_ONCE)

            initialised = other.submit(initialise)
            prepared = time.perf_counter()
            self.advance = advance.compiled(
                trainer.advance,
                (state, steering, self.data, epochs),
                jax.tree.structure((state, dict(RECORD_TYPES))),
                donate_first=True,
            )
            compiled = time.perf_counter()
            self.init = initialised.result()
        warming.join()
        self.compile_seconds = compiled - prepared
        self.setup_seconds = time.perf_counter() - began - self.compile_seconds

    def fields(self, parameters: Any, iterations: int) -> dict[str, np.ndarray]:
        """The problem's fields by name, in its own order; compiled at the first call."""
        iterations_array = np.int32(iterations)
        with self._lock:
            if self._fields is None:
                shapes = (parameters, iterations_array, self.data)
                names: list[str] = []

                def in_order(*arguments: Any) -> tuple[jax.Array, ...]:
                    fields = self._trainer.fields(*arguments)
                    names[:] = fields  # JAX would sort them
                    return tuple(fields.values())

                structure = jax.tree.structure(jax.eval_shape(in_order, *shapes))
                program = self._program("fields").compiled(in_order, shapes, structure, options=RUN_ONCE)
                self._fields = tuple(names), program
        names_in_order, program = self._fields
        values = jax.device_get(program(parameters, iterations_array, self.data))
        return dict(zip(names_in_order, values, strict=True))

    def _program(self, function: str) -> Program:
        return Program(None if self._identity is None else (function, *self._identity))


_programs: OrderedDict[Any, "Future[Programs]"] = OrderedDict()
_lock = threading.Lock()


def programs_for(trainer: Trainer, steering: Steering) -> tuple[Programs, bool]:
    """The compiled functions of a trainer, and whether they were compiled for this call.

    Threads that ask for the same at once wait for one compilation.
    """
    # What shapes them: the trainer, the kind of controller, and the precision.
    key = (trainer, jax.tree.structure(steering), jnp.result_type(float))
    with _lock:
        future = _programs.get(key)
        found = future is not None
        if future is None:
            future = _programs[key] = Future()
        _programs.move_to_end(key)
        while len(_programs) > PROGRAMS_KEPT:
            _programs.popitem(last=False)
    if not found:
        try:
            future.set_result(Programs(trainer, steering))
        except BaseException as error:
            with _lock:
                _programs.pop(key, None)
            future.set_exception(error)
    return future.result(), not found


def forget_programs() -> None:
    """Drop everything compiled in this process, as a fresh process would have it (for benchmarks and tests)."""
    with _lock:
        _programs.clear()
    jax.clear_caches()


@functools.cache
def _warm_up() -> None:
    """Have the CPU's library for matrix products set itself up: the first run of a race would else pay its 25 ms."""
    rows = jax.device_put(np.ones((16, 16), np.float32))
    jax.block_until_ready(jax.jit(lambda a, b: jax.lax.dot_general(a, b, (((0,), (0,)), ((), ()))))(rows, rows))


def data_of(problem: Problem) -> tuple[Any, Any]:
    """A problem's training and validation data on the device; those of programs at hand, if there are any."""
    precision = jnp.result_type(float)
    with _lock:
        fitting = [
            future
            for (trainer, _, known), future in _programs.items()
            if trainer.problem is problem and known == precision and future.done() and future.exception() is None
        ]
    return fitting[0].result().data if fitting else _on_device(problem)


def _on_device(problem: Problem) -> tuple[Any, Any]:
    """The problem's data on the device, in the working precision."""
    working = jnp.result_type(float)

    def put(leaf: Any) -> jax.Array:
        array = np.asarray(leaf)
        return jax.device_put(array.astype(working) if array.dtype.kind == "f" else array)

    training, validation = jax.tree.map(put, problem.data())
    samples = len(jax.tree.leaves(training)[0])
    if samples % problem.batch_size:
        raise ValueError(
            f"`batch_size` must divide the number of training samples; got {problem.batch_size} and {samples} samples."
        )
    return training, validation
