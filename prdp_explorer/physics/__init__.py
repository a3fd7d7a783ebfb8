"""Discretised physics: matrix-free operators, exact solutions, initial states. Everything is non-dimensional."""

from ._burgers import BurgersOperator as BurgersOperator
from ._burgers import burgers_step_exactly as burgers_step_exactly
from ._heat import HeatOperator as HeatOperator
from ._initial_conditions import interior_points as interior_points
from ._initial_conditions import periodic_fourier_series as periodic_fourier_series
from ._initial_conditions import smoothed_noise_velocity as smoothed_noise_velocity
from ._initial_conditions import truncated_fourier_series as truncated_fourier_series
from ._navier_stokes import NavierStokesOperator as NavierStokesOperator
from ._navier_stokes import coarsen as coarsen
from ._navier_stokes import divergence as divergence
from ._navier_stokes import navier_stokes_right_side as navier_stokes_right_side
from ._navier_stokes import project_divergence_free as project_divergence_free
from ._navier_stokes import vorticity as vorticity
from ._poisson import PoissonOperator as PoissonOperator
