"""One batch gradient of the Navier-Stokes step: this package's GMRES against `jax.scipy.sparse.linalg.gmres`.

    python benchmarks/navier_stokes_gradient.py [--repeats N] [--compilations N] [--json FILE]

The step is the published one: 48 by 48 cells, 25 states, float32, restart 8, K = 10 restarts, traced. The gradient is
that of the mean squared error after the step with respect to the states before it, on which right side and matrix
depend, by implicit differentiation. Both programs are the same but for the solver. They take turns in what is measured:

- compile: seconds of tracing and compiling, with nothing cached; the median of `--compilations`;
- gradient: seconds of a call; the median of `--repeats`.

The gradients must agree: the script says so, and ends with status 1 if not. The claims are printed as met or not; they
are no condition, since a busy machine can break them.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from prdp_explorer.physics import NavierStokesOperator, coarsen, navier_stokes_right_side, smoothed_noise_velocity
from prdp_explorer.solvers import GMRES, solve

FINE_POINTS, BATCH_SIZE, DT, VISCOSITY = 97, 25, 0.1, 1e-4
RESTART, ITERATIONS = 8, 10
FASTER, COMPILE_SHARE = 1.7, 1.5
"""The claims: how many times faster the gradient is at least, and the share of JAX's compile time at most."""

AGREEMENT = 1e-3
"""Of the gradients, relative: both are solved to K = 10 only, and rounding sets them apart by about 1e-5."""

Solve = Callable[[NavierStokesOperator, jax.Array, jax.Array], jax.Array]


def package(operator: NavierStokesOperator, b: jax.Array, iterations: jax.Array) -> jax.Array:
    return solve(operator, b, GMRES(RESTART), iterations, "implicit")


def jax_scipy(operator: NavierStokesOperator, b: jax.Array, iterations: jax.Array) -> jax.Array:
    # Tolerance zero, so that both do all K restarts: JAX holds the adjoint system to the right side of the forward one,
    # beside which the cotangent of a mean is small, and would not iterate at all.
    return jax.scipy.sparse.linalg.gmres(
        operator.matvec, b, tol=0.0, restart=RESTART, maxiter=iterations, solve_method="batched"
    )[0]


PROGRAMS: dict[str, Solve] = {"package": package, "jax": jax_scipy}


def main() -> int:
    """Measure, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description="A Navier-Stokes batch gradient against jax.scipy's gmres.")
    parser.add_argument("--repeats", type=int, default=20, metavar="N", help="gradients of each program; default 20")
    parser.add_argument("--compilations", type=int, default=3, metavar="N", help="of each program; default 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    options = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)

    print(f"N = {FINE_POINTS // 2}, {BATCH_SIZE} states, restart {RESTART}, K = {ITERATIONS}, float32")
    print(
        f"{os.cpu_count()} cores, {jax.default_backend()}, JAX {jax.__version__}, {platform.machine()}, "
        f"load {os.getloadavg()[0]:.1f}\n"
    )
    states, targets = _states(0), _states(BATCH_SIZE)
    arguments = states, targets, jnp.asarray(ITERATIONS)
    seconds = {f"{what}, {name}": [] for what in ("compile", "gradient") for name in PROGRAMS}
    compiled = {}
    for _ in range(options.compilations):
        for name, solve_system in PROGRAMS.items():
            jax.clear_caches()
            began = time.perf_counter()
            compiled[name] = jax.jit(_gradient(solve_system)).lower(*arguments).compile()
            seconds[f"compile, {name}"].append(time.perf_counter() - began)
    gradients = {name: np.asarray(program(*arguments)) for name, program in compiled.items()}
    for _ in range(options.repeats):
        for name, program in compiled.items():
            began = time.perf_counter()
            jax.block_until_ready(program(*arguments))
            seconds[f"gradient, {name}"].append(time.perf_counter() - began)

    medians = {name: statistics.median(times) for name, times in seconds.items()}
    share = medians["compile, package"] / medians["compile, jax"]
    faster = medians["gradient, jax"] / medians["gradient, package"]
    print(f"{'seconds':12}{'package':>10}{'jax':>10}")
    print(
        f"{'compile':12}{medians['compile, package']:10.2f}{medians['compile, jax']:10.2f}   {share:.2f} of its time"
        f"   claim: at most {COMPILE_SHARE}, {_verdict(share <= COMPILE_SHARE)}"
    )
    print(
        f"{'gradient':12}{medians['gradient, package']:10.4f}{medians['gradient, jax']:10.4f}   {faster:.2f}x faster"
        f"   claim: at least {FASTER}x, {_verdict(faster >= FASTER)}"
    )
    apart = float(np.linalg.norm(gradients["package"] - gradients["jax"]) / np.linalg.norm(gradients["jax"]))
    agree = apart <= AGREEMENT  # false for a NaN as well
    print(f"\nthe gradients are {apart:.1e} apart, relative: {'they agree' if agree else 'THEY DO NOT AGREE'}")
    if options.json:
        options.json.write_text(json.dumps({"seconds": seconds, "apart": apart}, indent=1))
    return 0 if agree else 1


def _states(first_seed: int) -> jax.Array:
    """As many as a batch has, as training begins with them: velocities on the coarse grid, pressure zero."""
    velocity = coarsen(smoothed_noise_velocity(first_seed, BATCH_SIZE, FINE_POINTS))
    return jnp.asarray(np.concatenate([velocity, np.zeros_like(velocity[:, :1])], axis=1), jnp.float32)


def _gradient(solve_system: Solve) -> Callable:
    def step(state: jax.Array, iterations: jax.Array) -> jax.Array:
        operator = NavierStokesOperator(state[:2], DT, VISCOSITY, "published")
        return solve_system(operator, navier_stokes_right_side(state[:2], DT), iterations)

    def loss(states: jax.Array, targets: jax.Array, iterations: jax.Array) -> jax.Array:
        return jnp.mean((jax.vmap(step, in_axes=(0, None))(states, iterations) - targets) ** 2)

    return jax.grad(loss)


def _verdict(met: bool) -> str:
    return "met" if met else "NOT MET"


if __name__ == "__main__":
    sys.exit(main())
