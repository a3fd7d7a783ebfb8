"""Learning problems: the interface, the built-in scenarios, their registry."""

from ._networks import CoarseFieldMLP as CoarseFieldMLP
from ._networks import FieldMLP as FieldMLP
from ._networks import FieldResNet as FieldResNet
from ._own import problem_at as problem_at
from ._problem import InnerSolve as InnerSolve
from ._problem import Problem as Problem
from ._problem import Scenario as Scenario
from ._registry import OWN as OWN
from ._registry import PROBLEMS_VARIABLE as PROBLEMS_VARIABLE
from ._registry import SCENARIOS as SCENARIOS
from ._registry import built_in_name as built_in_name
from ._registry import id_of as id_of
from ._registry import name_of as name_of
from ._registry import problem_named as problem_named
from ._registry import register as register
from ._registry import scenario_named as scenario_named
from ._registry import scenarios as scenarios
from ._registry import title_of as title_of
from ._registry import troubles as troubles
from ._registry import unregister as unregister
