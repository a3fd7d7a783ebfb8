"""What a run's settings are where the training loop is a person's own, and the engine only keeps count."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np

from ..problems import Problem, id_of
from ..refinement import PRDP, AbstractController, Constant, Limits, values_of
from ._settings import LIMITS, LOOP, Refinement, RunSettings, changed_refinement, refinement_for

MOST_CONTROLS = 16
LONGEST_NAME = 60
_RESERVED = frozenset({"iterations", "learning_rate", "differentiation", "solver", "epochs", "seed", "refinement"})


class LoopProblem(Problem):
    """What is known of a problem that only its author's loop has: what the views need to count and to draw.

    **Arguments:**

    - `full_iterations`, `epochs`, `controller`, `quantity`: as of `Problem`.
    """

    batch_size = 1
    learning_rate = 1.0
    solvers = ()
    differentiations = ()

    def __init__(self, full_iterations: int, epochs: int, quantity: str = "u"):
        self.full_iterations, self.epochs, self.quantity = full_iterations, epochs, quantity
        self.controller = PRDP(maximum=full_iterations)

    def points(self) -> np.ndarray:
        return np.zeros(0)  # whoever draws counts them

    def data(self) -> NoReturn:
        raise ValueError(ONLY_ITS_AUTHOR)

    def model(self, key: Any) -> NoReturn:
        raise ValueError(ONLY_ITS_AUTHOR)

    def loss(self, model: Any, batch: Any, solve: Any) -> NoReturn:
        raise ValueError(ONLY_ITS_AUTHOR)

    def metric(self, model: Any, validation: Any, solve: Any) -> NoReturn:
        raise ValueError(ONLY_ITS_AUTHOR)

    def fields(self, model: Any, validation: Any, solve: Any) -> NoReturn:
        raise ValueError(ONLY_ITS_AUTHOR)


ONLY_ITS_AUTHOR = "This is a loop of one's own: only its author's code trains it. Run that again, with other settings."


@dataclass(frozen=True)
class LoopSettings(RunSettings):
    """The settings of a run whose loop is a person's own; build it with `loop_settings`.

    **Attributes:** beside those of `RunSettings`

    - `controls`: the values of the loop's own controls by name. `control_limits`: what each may be.
    """

    controls: Mapping[str, float] = field(default_factory=dict)
    control_limits: Mapping[str, Limits] = field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        names = ("scenario", "preset", "seed", "solver", "differentiation", "metric", "epochs")
        return {
            **{name: getattr(self, name) for name in names},
            "full_iterations": self.problem.full_iterations,
            "quantity": self.problem.quantity,
            "refinement": dict(self.refinement),
            "controls": {
                name: [value, limits.minimum, limits.maximum]
                for (name, value), limits in zip(self.controls.items(), self.control_limits.values(), strict=True)
            },
        }

    def build_solver(self) -> NoReturn:
        raise ValueError(ONLY_ITS_AUTHOR)

    def build_differentiation(self) -> NoReturn:
        raise ValueError(ONLY_ITS_AUTHOR)

    @property
    def unrolls(self) -> bool:
        return False  # whatever its author calls it: no buffer of the engine's is filled

    @property
    def adjustable(self) -> dict[str, Any]:
        return {**self.refinement, **self.controls}

    def changed(self, changes: Mapping[str, Any]) -> "LoopSettings":
        """These settings with values of the controller, K, or the loop's controls changed, as of `RunSettings`."""
        own = {name: value for name, value in changes.items() if name in self.controls}
        others = {name: value for name, value in changes.items() if name not in own}
        refinement = changed_refinement(self.refinement, others, more=tuple(self.controls))
        controls = {name: self.control_limits[name].number(name, value) for name, value in own.items()}
        return replace(self, refinement=refinement, controls={**self.controls, **controls})

    def with_epochs(self, epochs: int) -> "LoopSettings":
        """These settings with so many epochs.

        **Raises:** `ValueError` in words.
        """
        checked = int(LIMITS["epochs"].number("epochs", epochs))
        return replace(
            self, epochs=checked, problem=LoopProblem(self.problem.full_iterations, checked, self.problem.quantity)
        )

    def with_control(self, name: str, value: float, minimum: float, maximum: float) -> "LoopSettings":
        """These settings with one more control; it is a whole number where all three are.

        **Raises:** `ValueError` in words.
        """
        if not (isinstance(name, str) and 0 < len(name.strip()) <= LONGEST_NAME and name.isprintable()):
            raise ValueError(f"A control's name must be 1 to {LONGEST_NAME} characters that can be seen; got {name!r}.")
        if name in _RESERVED or name in self.refinement:
            raise ValueError(f"{name!r} is the name of a setting of every run; give the control another name.")
        if len(self.controls) >= MOST_CONTROLS:
            raise ValueError(f"There can be {MOST_CONTROLS} controls at most.")
        whole = all(isinstance(each, int) and not isinstance(each, bool) for each in (value, minimum, maximum))
        for what, number in (("minimum", minimum), ("maximum", maximum)):
            Limits(float, -1e300, 1e300, "").number(what, number)
        if not minimum < maximum:
            raise ValueError(f"`minimum` must be below `maximum`; got {minimum!r} and {maximum!r}.")
        limits = Limits(int if whole else float, minimum, maximum, f"control of the loop: {name}")
        return replace(
            self,
            controls={**self.controls, name: limits.number(name, value)},
            control_limits={**self.control_limits, name: limits},
        )


def loop_settings(
    name: str,
    controller: AbstractController | Refinement | None = None,
    *,
    full_iterations: int | None = None,
    epochs: int = 100,
    solver: str = "own solver",
    differentiation: str = "own gradient",
    seed: int = 0,
    quantity: str = "u",
) -> LoopSettings:
    """The settings of a loop of one's own; arguments and errors are those of `explore`."""
    largest = full_iterations
    if largest is None:
        plain = dict(controller) if isinstance(controller, Mapping) else {}
        values = values_of(controller) if isinstance(controller, AbstractController) else plain
        largest = values.get("maximum", values.get("iterations"))
        if largest is None:
            raise ValueError("`full_iterations` must say which K counts as full physics; give it, or a controller.")
    Constant.limits["iterations"].number("full_iterations", largest)
    words = {"solver": solver, "differentiation": differentiation, "quantity": quantity}
    for what, text in words.items():
        if not (isinstance(text, str) and 0 < len(text) <= LONGEST_NAME and text.isprintable()):
            raise ValueError(f"`{what}` must be 1 to {LONGEST_NAME} characters that can be seen; got {text!r}.")
    problem = LoopProblem(int(largest), int(LIMITS["epochs"].number("epochs", epochs)), quantity)
    return LoopSettings(
        scenario=id_of(name),
        preset=LOOP,
        refinement=refinement_for(problem, problem.controller if controller is None else controller),
        solver=solver,
        differentiation=differentiation,
        metric="validation",
        seed=int(LIMITS["seed"].number("seed", seed)),
        epochs=problem.epochs,
        learning_rate=problem.learning_rate,
        problem=problem,
    )


def loop_settings_from_json(values: Mapping[str, Any]) -> LoopSettings:
    """The settings that `LoopSettings.to_json` gave.

    **Raises:** `ValueError` in words for what is no such thing.
    """
    names = ("full_iterations", "epochs", "solver", "differentiation", "seed", "quantity")
    missing = [name for name in ("scenario", "refinement", "controls", *names) if name not in values]
    if missing:
        raise ValueError(f"Settings must name {', '.join(missing)}.")
    settings = loop_settings(values["scenario"], values["refinement"], **{name: values[name] for name in names})
    if settings.scenario != values["scenario"] or values.get("metric") != settings.metric:
        raise ValueError(f"`scenario` and `metric` are not those of a loop: {values['scenario']!r}.")
    if not isinstance(values["controls"], Mapping):
        raise ValueError("`controls` must be values by name.")
    for name, numbers in values["controls"].items():
        if not isinstance(numbers, list | tuple) or len(numbers) != 3:
            raise ValueError(f"The control {name!r} must have a value, a minimum and a maximum.")
        settings = settings.with_control(name, *numbers)
    return settings
