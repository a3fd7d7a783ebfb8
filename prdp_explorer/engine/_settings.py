"""What a person may choose about a run, checked in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..problems import OWN, Problem, name_of, problem_named, scenario_named
from ..refinement import KINDS, AbstractController, Constant, Limits, TolerancePRDP, check_values, values_of
from ..solvers import (
    SOLVERS,
    AbstractDifferentiation,
    AbstractSolver,
    differentiation_named,
    unsuited_differentiation,
    unsuited_solver,
)

LOOP = "loop"
"""The preset of runs whose training loop is a person's own; see `explore`."""

METRICS = ("validation", "training")
"""What a controller may be fed: the validation metric, or the training loss."""

LIMITS: Mapping[str, Limits] = {
    "seed": Limits(
        int, 0, 2**32 - 1, "random number that the network's start and the order of the samples follow from"
    ),
    "epochs": Limits(int, 1, 100_000, "passes over the training data"),
    "learning_rate": Limits(float, 0, 1e6, "size of a training step, before its decay", above=True),
}
"""The numbers of a run other than its controller's."""

Refinement = Mapping[str, Any]
"""A controller as plain data: its `kind` (a key of `KINDS`) and its values."""


@dataclass(frozen=True)
class RunSettings:
    """Everything that decides a run, as plain data; build it with `settings_for`.

    **Attributes:**

    - `scenario`, `preset`: their names; the preset of a problem of one's own is "own", and its scenario the id that it
      was registered by, or its class name.
    - `refinement`: the controller as plain data, such as `{"kind": "prdp", "tau_step": 0.98, …}`.
    - `solver`, `differentiation`, `metric`: names.
    - `seed`, `epochs`, `learning_rate`: numbers.
    - `problem`: the object that the names stand for.
    """

    scenario: str
    preset: str
    refinement: Refinement
    solver: str
    differentiation: str
    metric: str
    seed: int
    epochs: int
    learning_rate: float
    problem: Problem = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The settings as plain data."""
        names = ("scenario", "preset", "seed", "solver", "differentiation", "metric", "epochs", "learning_rate")
        return {**{name: getattr(self, name) for name in names}, "refinement": dict(self.refinement)}

    def build_controller(self) -> AbstractController:
        """The controller that `refinement` describes."""
        values = dict(self.refinement)
        return KINDS[values.pop("kind")](**values)

    def build_solver(self) -> AbstractSolver:
        """The inner solver."""
        return self.problem.solver(self.solver)

    def build_differentiation(self) -> AbstractDifferentiation:
        """The differentiation mode, with room for the largest K that the controller may reach."""
        return differentiation_named(self.differentiation, self.largest_iterations)

    @property
    def largest_iterations(self) -> int:
        """The largest K that the controller may reach."""
        return self.refinement.get("maximum", self.refinement.get("iterations"))

    def changed(self, changes: Mapping[str, Any]) -> "RunSettings":
        """These settings with values of the controller, the learning rate, the mode, the solver or the epochs changed.

        **Raises:** `ValueError`, in words, for an unknown name, a value out of range, or values that do not fit
        together; nothing is changed then.
        """
        run = ("learning_rate", "differentiation", "solver", "epochs")
        of_controller = {name: value for name, value in changes.items() if name not in run}
        refinement = changed_refinement(self.refinement, of_controller, more=run)
        numbers: dict[str, Any] = {
            name: LIMITS[name].number(name, changes.get(name, getattr(self, name)))
            for name in ("learning_rate", "epochs")
        }
        mode, solver = (changes.get(name, getattr(self, name)) for name in ("differentiation", "solver"))
        _solver(self.problem, self.scenario, solver)
        _check_differentiation(self.problem, self.scenario, solver, mode)
        _check_tolerance(self.problem, solver, refinement)
        return replace(self, refinement=refinement, differentiation=mode, solver=solver, **numbers)

    def difference(self, other: "RunSettings") -> dict[str, Any]:
        """What `changed` needs to make of these settings the other ones.

        **Raises:** `ValueError` in words where it cannot.
        """
        fixed = ("scenario", "preset", "metric", "seed")
        names = [name for name in fixed if getattr(self, name) != getattr(other, name)]
        if self.refinement["kind"] != other.refinement["kind"]:
            names.append("kind of controller")
        if names:
            raise ValueError(f"A run cannot change its {', '.join(names)} on the way. Start a new one.")
        mine, others = ({**settings.to_json(), **settings.values} for settings in (self, other))
        past = ("refinement", "initial", "rtol_initial")
        return {name: value for name, value in others.items() if name not in past and value != mine[name]}

    @property
    def unrolls(self) -> bool:
        """Whether it has room for so many iterations only as it began with."""
        return self.differentiation == "unrolled"

    @property
    def adjustable(self) -> dict[str, Any]:
        """What `changed` may change, but for K of the next epoch, by name."""
        return {**vars(self), **self.refinement}

    @property
    def values(self) -> dict[str, Any]:
        """The controller's values without its kind."""
        return {name: value for name, value in self.refinement.items() if name != "kind"}


def settings_for(
    scenario: str | Problem,
    controller: AbstractController | Refinement | None = None,
    *,
    preset: str | None = None,
    solver: str | None = None,
    differentiation: str | None = None,
    metric: str = "validation",
    seed: int = 0,
    epochs: int | None = None,
    learning_rate: float | None = None,
) -> RunSettings:
    """Check a person's choices and fill in the preset's own for what is None.

    **Arguments:**

    - `scenario`: the id of a scenario, or a `Problem`.
    - `controller`: a controller, or one as plain data. `Constant()` means full physics. Plain data may leave values
      out, which then are the preset's own.
    - `preset`: "live" or "paper"; None is "live", and of a problem of one's own the one that it has.
    - `solver`, `differentiation`: names; the scenario lists those that suit it.
    - `metric`: what the controller is fed, "validation" or "training".
    - `seed`: 0 to 2³² - 1. `epochs`: 1 to 100,000. `learning_rate`: above 0.

    **Raises:** `ValueError` in words.
    """
    if isinstance(scenario, Problem):
        problem = scenario
        scenario, preset = name_of(problem) or (type(problem).__name__, OWN)
    else:
        preset = next(iter(scenario_named(scenario).presets)) if preset is None else preset
        problem = problem_named(scenario, preset)
    numbers = {
        "seed": seed,
        "epochs": problem.epochs if epochs is None else epochs,
        "learning_rate": problem.learning_rate if learning_rate is None else learning_rate,
    }
    plain: dict[str, Any] = {name: LIMITS[name].number(name, value) for name, value in numbers.items()}
    solver = _solver(problem, scenario, solver)
    if differentiation is None:
        differentiation = problem.differentiations[0]
    _check_differentiation(problem, scenario, solver, differentiation)
    refinement = refinement_for(problem, problem.controller if controller is None else controller)
    _check_tolerance(problem, solver, refinement)
    return RunSettings(
        scenario=scenario,
        preset=preset,
        refinement=refinement,
        solver=solver,
        differentiation=differentiation,
        metric=_one_of("metric", metric, METRICS),
        problem=problem,
        **plain,
    )


def changed_refinement(refinement: Refinement, changes: Mapping[str, Any], *, more: tuple[str, ...]) -> Refinement:
    """A controller's values with some of them changed during a run; `iterations`, K of the next epoch, is checked only.

    **Arguments:**

    - `more`: what else can be changed during such a run, for the message.

    **Raises:** `ValueError` in words.
    """
    kind = KINDS[refinement["kind"]]
    past = ("initial", "rtol_initial", "compare_with_start")
    known = [name for name in kind.limits if name not in past]
    if kind not in (Constant, TolerancePRDP):
        known.append("iterations")
    for name in changes:
        if name == "initial":
            raise ValueError("`initial` is K of the first epoch and cannot be changed later; set `iterations`.")
        if name == "rtol_initial":
            raise ValueError(
                "`rtol_initial` is the tolerance of the first epoch and cannot be changed later; set `rtol_floor`."
            )
        if name not in known:
            raise ValueError(f"`{name}` cannot be changed during a run; these can: {', '.join((*known, *more))}.")
    values = {name: value for name, value in changes.items() if name in kind.limits}
    changed = {**refinement, **{name: kind.limits[name].number(name, value) for name, value in values.items()}}
    if "initial" in changed:  # it is history by now, and must not stand in the way of a lower maximum
        changed["initial"] = min(changed["initial"], changed["maximum"])
    if "rtol_initial" in changed:
        changed["rtol_initial"] = max(changed["rtol_initial"], changed["rtol_floor"])
    if "iterations" in changes and "iterations" not in kind.limits:
        Constant.limits["iterations"].number("iterations", changes["iterations"])
        bound = values.get("maximum", refinement["maximum"])
        if changes["iterations"] > bound:
            raise ValueError(
                f"`iterations` must not exceed `maximum`, which is {bound}; got {changes['iterations']}. "
                "Raise `maximum` with it."
            )
    return changed


def refinement_for(problem: Problem, controller: AbstractController | Refinement) -> Refinement:
    """A controller as plain data, whole and checked: what it leaves out is the problem's own.

    **Raises:** `ValueError` in words.
    """
    if isinstance(controller, AbstractController):
        kind = next((name for name, kind in KINDS.items() if type(controller) is kind), None)
        if kind is None:
            raise ValueError(f"`controller` must be one of {', '.join(KINDS)}; got {type(controller).__name__}.")
        values = values_of(controller)
    elif not isinstance(controller, Mapping):
        raise ValueError(f"`controller` must be a controller or its values by name; got {controller!r}.")
    else:
        values = dict(controller)
        kind = values.pop("kind", "prdp")
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(KINDS)}; got {kind!r}.")
    published = values_of(problem.controller)
    own = {
        "prdp": published,
        "constant": {"iterations": problem.full_iterations},
        "prdp-tolerance": {
            **values_of(TolerancePRDP()),
            **{name: value for name, value in published.items() if name in TolerancePRDP.limits},
            "maximum": problem.full_iterations,
        },
    }
    values = {**(own.get(kind) or values_of(KINDS[kind]())), **values}
    check_values(KINDS[kind], values)
    return {"kind": kind, **{name: KINDS[kind].limits[name].number(name, value) for name, value in values.items()}}


def _solver(problem: Problem, scenario: str, name: str | None) -> str:
    if name is None:
        return problem.solvers[0]
    if isinstance(name, str) and name in problem.solvers:
        return name
    reason = ""
    if isinstance(name, str) and name in SOLVERS and problem.operator_type is not None:
        unsuited = unsuited_solver(SOLVERS[name], problem.operator_type)
        reason = f" {unsuited}." if unsuited else ""
    raise ValueError(f"`solver` must be one of {', '.join(problem.solvers)} for {scenario}; got {name!r}.{reason}")


def _check_differentiation(problem: Problem, scenario: str, solver: str, name: Any) -> None:
    offered = problem.differentiations
    if not isinstance(name, str) or name not in offered:
        raise ValueError(f"`differentiation` must be one of {', '.join(offered)} for {scenario}; got {name!r}.")
    unsuited = unsuited_combination(problem, solver, name)
    if unsuited is not None:
        raise ValueError(f"`differentiation` {name!r} does not go with the solver {solver!r}: {unsuited}.")


def _check_tolerance(problem: Problem, solver: str, refinement: Refinement) -> None:
    if refinement["kind"] == "prdp-tolerance" and not problem.solver(solver).steps:
        raise ValueError(
            f"`solver` {solver!r} is called once a solve and cannot stop at a tolerance; refine K instead, or choose "
            "another solver."
        )


def unsuited_combination(problem: Problem, solver: str, differentiation: str) -> str | None:
    """Why a differentiation mode does not go with a problem's solver, both by name, in words; None if it does."""
    return unsuited_differentiation(problem.solver(solver), type(differentiation_named(differentiation, 1)))


def not_offered(problem: Problem) -> Mapping[tuple[str, ...], str]:
    """The solvers, and the pairs of solver and differentiation mode, that do not suit a problem, with the reason."""
    reasons: dict[tuple[str, ...], str | None] = {}
    if problem.operator_type is not None:
        missing = [name for name in SOLVERS if name not in problem.solvers]
        reasons |= {(name,): unsuited_solver(SOLVERS[name], problem.operator_type) for name in missing}
    for solver in problem.solvers:
        reasons |= {(solver, mode): unsuited_combination(problem, solver, mode) for mode in problem.differentiations}
    return {names: reason for names, reason in reasons.items() if reason}


def _one_of(name: str, value: Any, offered: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in offered:
        raise ValueError(f"`{name}` must be one of {', '.join(offered)}; got {value!r}.")
    return value
