"""Discretised physics: matrix-free operators, exact solutions, initial states. Everything is non-dimensional."""

from ._heat import HeatOperator as HeatOperator
from ._initial_conditions import interior_points as interior_points
from ._initial_conditions import truncated_fourier_series as truncated_fourier_series
