"""Iterative linear solvers with a traced number of iterations, and the ways to differentiate through them."""

from ._differentiation import AbstractDifferentiation as AbstractDifferentiation
from ._differentiation import Implicit as Implicit
from ._differentiation import Unrolled as Unrolled
from ._jacobi import Jacobi as Jacobi
from ._operator import AbstractOperator as AbstractOperator
from ._operator import DenseOperator as DenseOperator
from ._solve import DIFFERENTIATIONS as DIFFERENTIATIONS
from ._solve import SOLVERS as SOLVERS
from ._solve import differentiation_named as differentiation_named
from ._solve import solve as solve
from ._solve import solver_named as solver_named
from ._solver import AbstractSolver as AbstractSolver
from ._solver import iterate as iterate
from ._solver import residual_history as residual_history
