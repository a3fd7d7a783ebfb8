"""Watch, steer and understand training through iterative physics."""

from importlib.metadata import version as _version

from .engine import Engine as Engine
from .engine import Race as Race
from .engine import Record as Record
from .engine import Run as Run
from .engine import explore as explore
from .engine import train as train
from .problems import Problem as Problem
from .problems import register as register
from .refinement import PRDP as PRDP
from .refinement import Constant as Constant
from .refinement import Scheduled as Scheduled
from .refinement import TolerancePRDP as TolerancePRDP
from .solvers import solve as solve

__version__ = _version("prdp_explorer")
