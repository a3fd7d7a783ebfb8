"""The tab of the labs: why coarse physics suffices, and when it does not, of the race that is shown."""

from collections.abc import Callable

import panel as pn

from ..engine import Engine, GradientLab, RunSettings, SolverLab
from ._gradient_lab import GradientLabView
from ._predicted import PredictedSaving
from ._shown import Shown
from ._solver_lab import SolverLabView
from ._theme import tab_grid


class Labs(pn.viewable.Viewer):
    """How good the gradient of now is, what the solver makes of the system of now, and what refinement will save.

    **Arguments:**

    - `engine`: computes all in the background.
    - `get`: gives the settings of PRDP as they are set; may raise `ValueError` in words.
    """

    def __init__(self, engine: Engine, get: Callable[[], RunSettings]):
        super().__init__()
        self.predicted = PredictedSaving(engine.predict, get)
        self.solver, self.gradient = SolverLabView(engine.solver_lab), GradientLabView(engine.gradient_lab)
        cards = tab_grid((self.solver, {}), (self.predicted, {}))
        self._layout = pn.Column(self.gradient, cards, sizing_mode="stretch_width", margin=0)

    def __panel__(self) -> pn.Column:
        return self._layout

    def know(self, run_id: str, gradients: GradientLab, system: SolverLab) -> None:
        """Have what was found out about a run before, to be shown when it comes up."""
        self.gradient.know(run_id, gradients)
        self.solver.know(run_id, system)

    def look_at(self, shown: Shown) -> None:
        """Show another race, or none."""
        self.solver.look_at(shown)
        self.gradient.look_at(shown)

    def update(self) -> None:
        """Show what was computed since, and ask for what is due."""
        self.predicted.update()
        self.solver.update()
        self.gradient.update()
