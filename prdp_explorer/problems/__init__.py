"""Learning problems: the interface, the built-in scenarios, their registry."""

from ._networks import CoarseFieldMLP as CoarseFieldMLP
from ._networks import FieldMLP as FieldMLP
from ._networks import FieldResNet as FieldResNet
from ._own import problem_at as problem_at
from ._problem import InnerSolve as InnerSolve
from ._problem import Problem as Problem
from ._problem import Scenario as Scenario
from ._registry import SCENARIOS as SCENARIOS
from ._registry import name_of as name_of
from ._registry import problem_named as problem_named
from ._registry import scenario_named as scenario_named
