"""The view of the fields of a chosen validation sample at a chosen epoch, and of rollouts, for all contenders."""

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from ..engine import Run, Snapshot
from ..problems import Problem
from ._fields_images import Images, compared_in, relative_error
from ._fields_lines import Lines
from ._fields_parameters import Parameters
from ._fields_rollout import BY_DIMENSIONS, RollOut, RolloutPlayer, number, quiet
from ._fields_slices import Slices
from ._following import EpochSlider
from ._pointer import Pointer
from ._session import locked
from ._shown import Shown
from ._theme import CONTROL, Look, card, fill, grid

_NOTHING_YET = "The fields of the validation samples appear here when training begins."


@dataclass(frozen=True)
class _Kind:
    """What decides the layout: races of the same kind share their figures.

    **Attributes:**

    - `dimensions`: of the grid; 0 without fields.
    - `fields`, `parameters`: their names.
    - `points`: the coordinates along one side.
    - `components`, `references`: as of the problem.
    - `samples`: how many there are to choose from.
    """

    dimensions: int
    fields: tuple[str, ...]
    parameters: tuple[str, ...]
    points: tuple[float, ...]
    components: tuple[str, ...]
    references: tuple[tuple[str, float], ...]
    samples: int

    @classmethod
    def of(cls, problem: Problem, snapshot: Snapshot) -> "_Kind":
        shapes = {name: np.shape(values) for name, values in snapshot.fields.items()}
        fields = tuple(name for name, shape in shapes.items() if len(shape) > 1)
        points, components, references = cls._known(problem)
        if fields and not points:  # of a loop of one's own: evenly from one side to the other
            points = tuple(map(float, np.linspace(0, 1, shapes[fields[0]][-1])))
        return cls(
            len(shapes[fields[0]]) - 1 - bool(problem.components) if fields else 0,
            fields,
            tuple(name for name, shape in shapes.items() if len(shape) == 1),
            points,
            components,
            references,
            next(iter(shapes.values()))[0],
        )

    def may_be_of(self, problem: Problem) -> bool:
        """Whether snapshots of a problem, which there need not be any of yet, may be of this kind."""
        return (self.points, self.components, self.references) == self._known(problem)

    @staticmethod
    def _known(problem: Problem) -> tuple[Any, Any, Any]:
        references = tuple((name, float(value)) for name, value in problem.reference_parameters.items())
        return tuple(map(float, problem.points())), problem.components, references


class Fields(pn.viewable.Viewer):
    """What the snapshots hold, for all contenders: lines in 1D, images in 2D, slices in 3D, parameters; and rollouts.

    Input, network output, output after the physics, target and error, or whatever else the problem names. The epoch
    slider walks over the snapshots kept, showing the last one up to the epoch chosen; while "follow training" is on it
    stays at the newest. Below, the networks trained up to that epoch are rolled out from the same sample.

    **Arguments:**

    - `roll_out`: what computes a rollout in the background, as `Engine.rollout`.
    - `pointer`: of the page, to follow over the figures of parameters.

    **Attributes:**

    - `body`: where the figures of the snapshots are. `rollout`: the player of rollouts.
    """

    def __init__(self, roll_out: RollOut, pointer: Pointer | None = None):
        super().__init__()
        self._pointer = pointer
        self._looks: dict[str, Look] = {}
        self._runs: dict[str, Run] = {}
        self._kind: _Kind | None = None
        self._fields: Lines | Images | Slices | None = None
        self._parameters: Parameters | None = None
        self._chosen: tuple[int, str | None] | None = None
        self._offered: tuple[bool, bool] | None = None
        self._shown: dict[str, Any] = {}
        self._told: dict[str, str] = {}
        self._pointed: int | None = None
        self._moving = False
        self.component = pmui.Select(label="Component", **CONTROL)
        self.sample = pmui.IntSlider(label="Validation sample", start=1, end=5, value=1, **CONTROL)
        self._slider = EpochSlider("Epoch shown", self._choose_epoch, lambda: self.follow.value)
        self.epoch = self._slider.widget
        self.follow = pmui.Switch(label="Follow training", value=True, margin=(14, 10))
        self.component.param.watch(lambda _: self._choose(), "value")
        self.sample.param.watch(lambda _: self._choose(), "value")
        self.follow.param.watch(lambda _: locked(self.update), "value")
        self._controls = pn.Column(sizing_mode="stretch_width", margin=0)
        self._offer(components=False, samples=True)
        self._nothing = pn.pane.HTML(_NOTHING_YET, margin=(8, 20), styles={"min-height": "260px"})
        self.body = pn.Column(sizing_mode="stretch_width", margin=0)
        fill(self.body, self._nothing)
        self._summary = pn.pane.HTML(sizing_mode="stretch_width", margin=(0, 12))
        self.rollout = RolloutPlayer(roll_out)
        self._layout = pn.Column(
            card(self._controls, self.body, self._summary), self.rollout, sizing_mode="stretch_width", margin=10
        )
        self._layout.styles = {"row-gap": "10px"}

    def __panel__(self) -> pn.Column:
        return self._layout

    def look_at(self, shown: Shown) -> None:
        """Show the snapshots of other runs, by place."""
        contenders = shown.contenders
        looks = {each.label: each.look for each in contenders}
        self._runs = {each.label: each.run for each in contenders}
        self._shown, self._told = {}, {}
        self._summary.object = ""
        self._chosen = self._pointed = None
        self.follow.value = True
        self.epoch.end = max((run.settings.epochs for run in self._runs.values()), default=100)
        self._slider.follow(0)
        kind, same = self._kind, list(self._looks.items()) == list(looks.items())
        self._looks = looks
        if kind is not None and same and all(kind.may_be_of(run.settings.problem) for run in self._runs.values()):
            for part in self._parts:
                part.clear()
        else:
            self._kind = self._fields = self._parameters = None
            fill(self.body, self._nothing)
        self.rollout.look_at(contenders)

    def update(self) -> None:
        """Show the newest snapshot if following, and what is new of the rollouts."""
        if self.follow.value:
            self._slider.follow(self._newest)
        self._draw()
        if self._kind is not None:
            component = self._kind.components.index(self.component.value) if self._kind.components else None
            epoch = None if self.follow.value else self.epoch.value
            self.rollout.update(epoch, self.sample.value - 1, component)

    def point_at(self, epoch: int | None) -> None:
        """Show the snapshots of an epoch that is pointed at elsewhere; None goes back to where the slider is."""
        if epoch != self._pointed:
            self._pointed = epoch
            self._draw()

    @property
    def _parts(self) -> list[Any]:
        return [part for part in (self._fields, self._parameters) if part is not None]

    def _move(self, widget: Any, **values: Any) -> None:
        """Change a widget without taking it for a person's doing."""
        self._moving = True
        try:
            widget.param.update(**values)
        finally:
            self._moving = False

    @property
    def _newest(self) -> int:
        """The epoch of the newest snapshot."""
        return max((run.log.snapshots[-1].epoch for run in self._runs.values() if run.log.snapshots), default=0)

    def _choose(self) -> None:
        if not self._moving:
            locked(self._draw)

    def _choose_epoch(self, epoch: int) -> None:
        """A person who moves the slider back wants to stay there."""
        self.follow.value = epoch >= self._newest
        locked(self._draw)

    def _draw(self) -> None:
        wanted = self.epoch.value if self._pointed is None else self._pointed
        with pn.io.hold():
            for label, run in self._runs.items():
                snapshots = run.log.snapshots
                reached = (snapshot for snapshot in reversed(snapshots) if snapshot.epoch <= wanted)
                if (snapshot := next(reached, None)) is not None:
                    self._show_snapshot(label, run, snapshot)
                    if self._parameters is not None:
                        self._parameters.show(label, snapshots, snapshot, self.sample.value - 1)

    def _show_snapshot(self, label: str, run: Run, snapshot: Snapshot) -> None:
        if self._shown.get(label) == (snapshot.epoch, self.sample.value, self.component.value):
            return
        problem = run.settings.problem
        kind = _Kind.of(problem, snapshot)
        if kind != self._kind:
            self._lay_out(kind)
        chosen = (self.sample.value, self.component.value)
        self._shown[label] = (snapshot.epoch, *chosen)
        if chosen != self._chosen:
            self._chosen = chosen
            if self._fields is not None:
                component = self.component.value
                self._fields.restart(f"{component} ({problem.quantity})" if component else problem.quantity)
            if self._parameters is not None:
                self._parameters.restart(run.settings.epochs)
        index: tuple[int, ...] = (self.sample.value - 1,)
        if kind.components:
            index += (kind.components.index(self.component.value),)
        fields = {name: snapshot.fields[name][index] for name in kind.fields}
        if self._fields is not None:
            words = f"{run.label} after epoch {snapshot.epoch}, K = {snapshot.iterations}"
            self._fields.show(label, words, fields)
        self._tell(label, kind, snapshot, fields)

    def _tell(self, label: str, kind: _Kind, snapshot: Snapshot, fields: dict[str, np.ndarray]) -> None:
        """Say in words what is seen of a contender."""
        values = [f"{name} = {number(float(snapshot.fields[name][self.sample.value - 1]))}" for name in kind.parameters]
        compared = compared_in(kind.fields)
        if compared is not None:
            values.append(number(relative_error(fields[compared[0]], fields[compared[1]])))
        self._told[label] = f"{', '.join(values)} for {label} after epoch {snapshot.epoch}" if values else ""
        truths = [f"{name} = {number(value)}" for name, value in kind.references]
        begin: list[str] = [f"Validation sample {self.sample.value}"] if kind.samples > 1 else []
        begin += [self.component.value] if kind.components else []
        begin += [f"relative error ‖{compared[0]} − {compared[1]}‖ / ‖{compared[1]}‖"] if compared else []
        begin += [f"truth {', '.join(truths)}"] if truths else []
        beginning = ", ".join(begin)
        told = "; ".join(filter(None, self._told.values()))
        words = f"{beginning[:1].upper()}{beginning[1:]}: {told}." if beginning else f"{told}."
        self._summary.object = quiet(html.escape(words if told else ""))

    def _lay_out(self, kind: _Kind) -> None:
        """Make the figures for another kind of problem."""
        self._kind, self._chosen = kind, None
        components = list(kind.components)
        if self.component.options != components:
            self._move(self.component, options=components, value=components[0] if components else None)
        self._move(self.sample, end=max(kind.samples, 2), value=min(self.sample.value, kind.samples))
        self._offer(components=bool(components), samples=kind.samples > 1)
        points = np.array(kind.points)
        self._fields = self._parameters = None
        if kind.fields:
            compared = compared_in(kind.fields)
            self._fields = BY_DIMENSIONS[kind.dimensions](self._looks, kind.fields, points, compared)
        if kind.parameters:
            self._parameters = Parameters(self._looks, kind.parameters, dict(kind.references), self._pointer)
        fill(self.body, *(part.view for part in self._parts))

    def _offer(self, *, components: bool, samples: bool) -> None:
        """Show the controls that there is something to choose with."""
        if self._offered != (components, samples):
            self._offered = (components, samples)
            choosers = [self.component] * components + [self.sample] * samples
            left = {"md": 9 - 3 * len(choosers)}
            self._controls[:] = [
                grid(*((widget, {"md": 3}) for widget in choosers), (self.epoch, left), (self.follow, {"md": 3}))
            ]
