"""How a solver converges: residual and error by iteration, the rate, and the K that a tolerance needs."""

import math
from dataclasses import dataclass

import numpy as np

_LOST = 100
"""Times the machine precision: where rounding is a hundredth of what is seen, a rate means nothing any more."""

_GEOMETRIC = 0.05
"""How far a curve may be off a straight line, relative to its fall, to count as geometric decay."""


@dataclass(frozen=True)
class Convergence:
    """What one solver makes of a system, by iterations; all numbers relative to the start, non-dimensional.

    **Attributes:** (arrays of shape `(points,)`)

    - `solver`: its name.
    - `iterations`: how many, from 0; one after another, but of a solver that is called once a solve a few of them.
    - `residuals`: ‖b - A x_k‖ / ‖b - A x_0‖. NaN or infinite where a solver diverged beyond all numbers.
    - `errors`: ‖x_k - x*‖ / ‖x_0 - x*‖; NaN throughout where x* could not be found.
    - `rate`: the factor on the error (on the residual without x*) per iteration; 1 or above where it does not converge.
    - `geometric`: whether the rate is that of a geometric decay, fitted to the last quarter of the iterations before
      rounding takes over; else it is the mean factor up to there, as for Krylov methods, whose decay is no constant
      factor.
    - `rounded`: the index in the arrays from which on residuals are rounding, or their length if none are.
    """

    solver: str
    iterations: np.ndarray
    residuals: np.ndarray
    errors: np.ndarray
    rate: float
    geometric: bool
    rounded: int

    def at(self, iterations: int) -> tuple[float, float]:
        """Residual and error after so many iterations, or the last before where not all are tried; NaN beyond."""
        if not 0 <= iterations <= self.iterations[-1]:
            return math.nan, math.nan
        index = int(np.searchsorted(self.iterations, iterations, side="right")) - 1
        return float(self.residuals[index]), float(self.errors[index])

    def predicted_iterations(self, tolerance: float) -> int | None:
        """The K with which the residual falls to `tolerance` times that of the start, above 0.

        Read from the curve as far as it goes, and beyond it continued with `rate`. None where it never does: the solver
        does not converge, or rounding ends it before.

        **Raises:** `ValueError` in words for a tolerance that is none.
        """
        if not (isinstance(tolerance, int | float) and tolerance > 0 and math.isfinite(tolerance)):
            raise ValueError(f"`tolerance` must be a number above 0; got {tolerance!r}.")
        reached = np.flatnonzero(self.residuals <= tolerance)
        if len(reached):
            return int(self.iterations[reached[0]])
        if self.rounded < len(self.residuals) or not 0 < self.rate < 1:
            return None
        further = math.log(tolerance / self.residuals[-1]) / math.log(self.rate)
        return int(self.iterations[-1]) + math.ceil(further)


def convergence(
    solver: str, iterations: np.ndarray, residuals: np.ndarray, errors: np.ndarray, eps: float, *, constant: bool = True
) -> Convergence:
    """The rate of measured curves.

    **Arguments:**

    - `iterations`, `residuals`, `errors`: as of `Convergence`.
    - `eps`: the machine precision of what was computed.
    - `constant`: whether each iteration may come to take off the same factor; else the mean one counts.
    """
    seen = errors if np.isfinite(errors[0]) else residuals
    end = _rounded(iterations, seen, eps)
    rate, geometric = _rate(iterations[:end], seen[:end], constant) if end > 1 else (1.0, False)
    return Convergence(solver, iterations, residuals, errors, rate, geometric, _rounded(iterations, residuals, eps))


def _rounded(iterations: np.ndarray, values: np.ndarray, eps: float) -> int:
    """How many values of a curve come before it is lost in rounding, or in infinity; 2 at least, if there are."""
    finite = np.isfinite(values)
    values = values[: len(values) if finite.all() else int(np.argmin(finite))]
    smallest = values.min(initial=math.inf)
    if not smallest < math.sqrt(eps):
        return len(values)
    first = max(int(np.argmax(values <= max(3 * smallest, _LOST * eps))), 1)
    if values[first] > _LOST * eps:
        # Rounding, if from here on it takes far longer than it should by the iterations before.
        before = max(first - max(first // 4, 1), 0)
        logarithm = np.log(values[first] / values[before])
        needed = -math.log(3) * (iterations[first] - iterations[before]) / logarithm if logarithm < 0 else 0
        if iterations[len(values) - 1] - iterations[first] <= 3 * needed + 3:
            return len(values)
    return max(first, 2)  # what is reached at once is all that is known


def _rate(iterations: np.ndarray, values: np.ndarray, constant: bool) -> tuple[float, bool]:
    """The factor per iteration, and whether the decay is geometric."""
    logarithms = np.log(np.maximum(values, np.finfo(float).tiny))
    last = len(values) // 4
    if constant and last >= 3:
        slope, height = np.polyfit(iterations[-last:], logarithms[-last:], 1)
        off = np.abs(logarithms[-last:] - slope * iterations[-last:] - height).max()
        if off <= _GEOMETRIC * abs(slope) * (iterations[-1] - iterations[-last]):
            return float(np.exp(slope)), True
    return float(np.exp((logarithms[-1] - logarithms[0]) / (iterations[-1] - iterations[0]))), False
