"""What starts runs, and what brings kept ones back."""

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from ..problems import Problem
from ..refinement import AbstractController
from ._gradient_lab import DIVERGED, GradientLab, GradientProbe, checked_counts, checked_modes, iterations_now
from ._kept import forked, play_full_physics_beside, recordings_of, replayed, resumed, reuse_twin, role
from ._prediction import Prediction, predict
from ._recorder import Recorder
from ._rollouts import Parameters, Rollout, kept_parameters, roll_out, rollout_steps
from ._run import FAIRNESS, Race, Run, checked_pace
from ._schema import StoreError
from ._settings import RunSettings, settings_for
from ._solver_lab import SolverLab, checked_request, look_at_system
from ._store import Store
from ._what_if import WhatIf, decide, history_of, other_controller
from ._worker import Worker


class Engine:
    """Advances runs in one background thread, compiles in another, and answers questions in a third, so that nobody who
    watches ever waits.

    All runs of all races advance in turn, a compiled call of about 30 ms each. `close` ends the threads; leaving the
    interpreter does so too.

    **Arguments:**

    - `store`: where runs are kept; None keeps them for as long as this process, with the last checkpoint only.
    - `not_kept`: where there should be a store, why there is none, for `trouble`.
    - `keep_seconds`: how long a race that nobody watches any more is kept, paused, before it is stopped and forgotten.

    **Attributes:**

    - `recorder`: what writes into the store; None without one.
    - `trouble`: why runs that should be kept are not, in words; None if all is well.
    """

    def __init__(self, store: Store | None = None, *, not_kept: str | None = None, keep_seconds: float = 1800.0):
        self.recorder = None if store is None else Recorder(store)
        self._not_kept = not_kept
        self._worker = Worker(self.recorder, keep_seconds)

    @property
    def races(self) -> Mapping[str, Race]:
        """The races that are kept, by id."""
        return dict(self._worker.races)

    def start(
        self,
        scenario: str | Problem,
        controller: AbstractController | Mapping[str, Any] | None = None,
        *,
        pace: float | None = None,
        **choices: Any,
    ) -> Run:
        """Start one run and return at once.

        **Arguments:**

        - `scenario`, `controller`, `choices`: as for `settings_for`: preset, solver, differentiation, metric, seed,
          epochs, learning_rate.
        - `pace`: epochs a second of wall-clock time; None for as fast as possible.

        **Raises:** `ValueError` in words; nothing is started then.
        """
        return self.start_with(settings_for(scenario, controller, **choices), pace=pace)

    def start_with(self, settings: RunSettings, *, pace: float | None = None) -> Run:
        """Start one run with settings that are complete."""
        (run,) = self.enter(Race({role(settings): settings}, checked_pace(pace), self._worker.notify)).runs.values()
        return run

    def race(
        self,
        scenario: str | Problem,
        contenders: Mapping[str, AbstractController | Mapping[str, Any] | None],
        *,
        pace: float | None = None,
        reuse: bool = False,
        **choices: Any,
    ) -> Race:
        """Start several runs that differ in their controllers and advance together, and return at once.

        **Arguments:**

        - `contenders`: controllers by label, such as `{"PRDP": PRDP(), "full physics": Constant()}`.
        - `reuse`: whether a constant K that was trained before with the same settings, versions and kind of machine is
          played from the store rather than trained again. An edit of it lets it be trained from there on.
        - the others as for `start`.

        **Raises:** `ValueError` in words; nothing is started then.
        """
        settings = {label: settings_for(scenario, controller, **choices) for label, controller in contenders.items()}
        return self.race_with(settings, pace=pace, reuse=reuse)

    def race_with(
        self,
        contenders: Mapping[str, RunSettings],
        *,
        pace: float | None = None,
        reuse: bool = False,
        fairness: str = FAIRNESS[0],
    ) -> Race:
        """Start several runs by label, with settings that are complete and may differ in anything.

        **Arguments:**

        - `fairness`: "epochs" or "time": what they have in common at any moment.
        - the others as for `race`.
        """
        if not contenders:
            raise ValueError("`contenders` must name at least one controller; got none.")
        race = Race(contenders, checked_pace(pace), self._worker.notify)
        race.set_fairness(fairness)
        if reuse and self.recorder is not None:
            store = self._written()
            for run in race.runs.values():
                reuse_twin(store, run)
        return self.enter(race)

    def enter(self, race: Race) -> Race:
        """Let a race take part: it is advanced, kept and shown from now on.

        **Raises:** `ValueError` in words if it cannot.
        """
        race.engine = self
        return self._worker.enter(race)

    @property
    def trouble(self) -> str | None:
        return self._not_kept if self.recorder is None else self.recorder.problem

    def close(self) -> None:
        """Stop all runs and end the threads; the logs stay readable."""
        self._worker.close()

    @property
    def store(self) -> Store:
        """Where runs are kept.

        **Raises:** `ValueError` in words for an engine that keeps none.
        """
        if self.recorder is None:
            raise ValueError(self._not_kept or "This engine keeps no runs. Make one with a store.")
        return self.recorder.store

    def rollout(
        self, run: Run, *, epoch: int | None = None, sample: int = 0, steps: int | None = None
    ) -> Future[Rollout]:
        """Let the model of a run make one time step after another from a validation sample, beside the truth.

        Computed in a thread of its own with what is at hand of the run: its parameters now, or the newest that were
        kept up to an epoch. `Rollout.epoch` says which these are. The first of a problem is compiled.

        **Arguments:**

        - `epoch`: the last that the model may have seen; None for as many as there are.
        - `sample`: the number of the validation sample, from 0.
        - `steps`: time steps; None for the problem's own number.

        **Raises:** `ValueError` in words for a problem that has no rollout; so does the future for what there is not.
        """
        steps = rollout_steps(run.settings.problem, steps)

        return self._worker.request(lambda: roll_out(run.settings, self._parameters(run, epoch), sample, steps))

    def gradient_lab(
        self,
        run: Run,
        *,
        modes: Sequence[str] | None = None,
        counts: Sequence[int] | None = None,
        epoch: int | None = None,
        beside: GradientLab | None = None,
    ) -> Future[GradientLab]:
        """Compare gradients of a run's training loss, by differentiation mode and by K, with the converged one.

        On the first batch of the training data, with what is at hand of the run as for `rollout`. Converged means that
        the run's solver goes on to rounding, in the primal and in the adjoint. Computed in a thread of its own; while
        it computes, not while it compiles, the run's race waits and commands still act, so that neither disturbs the
        other's seconds. Training is the same to the last bit with and without.

        **Arguments:**

        - `modes`: by name; None for all that the problem offers for the run's solver.
        - `counts`: values of K; None for about 8 from 1 to K_full. K of now is always among those compared.
        - `epoch`: the last that the model may have seen; None for as many as there are.
        - `beside`: a comparison of the same run, with whose parameters and values of K others are compared instead, as
          of one mode after another (`GradientLab.with_modes_of`): each is compiled the first time.

        **Raises:** `ValueError` in words for a loop of one's own, for a run that has not begun or diverged, and for
        modes and counts that there are not; so does the future for parameters or gradients that are no numbers.
        """
        settings = run.settings
        modes = checked_modes(settings, modes)
        counts = checked_counts(settings, counts) if beside is None else beside.counts
        if not len(run.log):
            raise ValueError("This run has not begun yet, so that there is no gradient. Wait until training begins.")
        if beside is None and run.state == "diverged" and (epoch is None or epoch >= run.epoch):
            raise ValueError(DIVERGED.format(epoch=run.epoch))
        most = max(*counts, int(run.log.read()["next_iterations"].max()), settings.largest_iterations)

        def compute() -> GradientLab:
            probe = GradientProbe(settings, modes, most)
            with run.race.held():
                if beside is not None:
                    return probe.measure(beside.parameters, counts, beside.iterations)
                parameters = self._parameters(run, epoch)
                return probe.measure(parameters, counts, iterations_now(run.log, parameters.epoch))

        return self._worker.request(compute)

    def solver_lab(
        self,
        run: Run,
        *,
        epoch: int | None = None,
        solvers: Sequence[str] | None = None,
        iterations: int | None = None,
        sample: int = 0,
    ) -> Future[SolverLab]:
        """Look at the linear system that a run solves now: residual and error by iteration, and rates, of any solver.

        The system is that of the first inner solve of the training loss for one sample. It is looked at in a thread of
        its own, in double precision if the problem goes along with that; nothing of the training is touched. The first
        of a problem is compiled.

        **Arguments:**

        - `epoch`: of training, after which the parameters are taken: None for now, else the newest that were kept up
          to there.
        - `solvers`: names out of those that suit the problem; None for the run's own.
        - `iterations`: up to which K the curves go, 1 to 2000; None for twice full physics, or what K asks for.
        - `sample`: the number of the training sample, from 0.

        **Raises:** `ValueError` in words for a loop of one's own and for what cannot be asked for; so does the future
        for a loss that makes no inner solve through `solve(operator, b)`, and for a system that is not finite.
        """
        names = checked_request(run.settings, solvers, iterations)
        return self._worker.request(
            lambda: look_at_system(run, self._parameters(run, epoch), names, iterations, sample)
        )

    def _parameters(self, run: Run, epoch: int | None) -> Parameters:
        """The parameters of a run now, or the newest that were kept up to an epoch."""
        now = self._worker.parameters(run) if epoch is None or epoch >= run.epoch else None
        store = run.race.store or (None if self.recorder is None else self.recorder.store)
        return kept_parameters(run, epoch, store) if now is None else Parameters(*now)

    def drive(self, settings: RunSettings, wake: Callable[[], None]) -> Race:
        """A race of one run that a loop of a person's own advances; it takes part from `enter` on (for `explore`).

        **Arguments:**

        - `wake`: called whenever there may be something that the loop should take up.
        """
        race = Race({role(settings): settings}, None, wake)
        race.driven, race.engine = True, self
        return race

    def play_full_physics_beside(self, run: Run) -> None:
        """Show the kept full-physics run that matches a run, if there is one, beside it."""
        if self.recorder is not None:
            play_full_physics_beside(self._written(), run)

    def _written(self) -> Store:
        """The store, with everything in it that there is by now."""
        store = self.store
        if self.recorder is not None:
            self.recorder.write()
        return store

    def resume(self, run_id: str, *, pace: float | None = None, beside: bool = False) -> Race:
        """Go on with a kept run that was interrupted or stopped, and with those of its race, where their logs end.

        What they do is what they would have done, to the last bit, on the same machine and versions. With `beside`, its
        full-physics run and others of its race that are over are played beside it.

        **Raises:** `ValueError` in words for a run that cannot go on; nothing is started then.
        """
        return self.enter(resumed(self._written(), run_id, pace, self._worker.notify, beside=beside))

    def fork(self, run_id: str, epoch: int, *, pace: float | None = None, beside: bool = False, **changes: Any) -> Race:
        """Go another way from an epoch of a kept run on: a race of one new run that has the other's past.

        **Arguments:**

        - `run_id`, `epoch`: what to fork, after which of its epochs. It goes on from the newest checkpoint up to there
          and trains what lies between once more, so that its past is the other's to the last bit.
        - `pace`: as for `start`.
        - `beside`: whether the run itself, and what it is seen beside, such as its full-physics run, are played beside
          the fork.
        - `changes`: what is different from then on: values of the controller, `iterations`, `learning_rate`,
          `differentiation`, `solver`, `epochs`.

        **Raises:** `ValueError` in words; nothing is started then.
        """
        return self.enter(forked(self._written(), run_id, epoch, changes, pace, self._worker.notify, beside=beside))

    def replay(
        self,
        run_id: str,
        epoch: int | None = None,
        *,
        beside: Sequence[str] | None = None,
        pace: float | None = None,
        paused: bool = True,
        store: Store | None = None,
    ) -> Race:
        """Play a kept run, with what it is seen beside, to whoever reads logs: a race in which nothing is trained.

        **Arguments:**

        - `epoch`: where to begin; None is the end, with everything to be seen at once.
        - `beside`: the ids of what is played beside it; None for the others of its race, or its full-physics run.
        - `pace`: epochs a second of wall-clock time; None for as fast as possible.
        - `paused`: whether it stands still at first.
        - `store`: where it is kept, as the runs of stories are; None for the engine's own store.

        **Raises:** `ValueError` in words for a run that is not kept, or of a problem of one's own.
        """
        kept_in = self._written() if store is None else store
        race = replayed(recordings_of(kept_in, run_id, beside), epoch, pace, self._worker.notify)
        race.paused, race.store = paused, store
        return self.enter(race)

    def seek(self, race: Race, epoch: int, *, paused: bool = True) -> Race:
        """A replay from another epoch on, which takes the place of this one."""
        if race.recordings is None:
            raise ValueError("Only a replay can be moved to another epoch; fork what is trained instead.")
        moved = replayed(race.recordings, epoch, race.pace, self._worker.notify)
        moved.id, moved.paused, moved.store = race.id, paused, race.store
        return self.enter(moved)

    def take_in(self, race: Race) -> None:
        """Keep what a replay plays from another store in the engine's own too, so that it can be forked.

        **Raises:** `ValueError` in words for an engine that keeps no runs.
        """
        if race.store is not None and race.recordings is not None:
            known = {run.id for run in self._written().runs()}
            wanted = [each.kept.id for each in race.recordings.values() if each.kept.id not in known]
            self.store.insert([race.store.contents(run_id) for run_id in wanted])

    def predict(self, settings: RunSettings) -> Future[Prediction]:
        """Measure in a moment what an epoch costs on this machine, and so what refinement will save, before it starts.

        Computed in a thread of its own; what is trained meanwhile takes part of the machine, and so of the figures.

        **Raises:** `ValueError` in words, from the future as well, for a loop of one's own and for tolerances.
        """
        runs = [] if self.recorder is None else self.store.runs()
        return self._worker.request(lambda: predict(settings, runs))

    def what_if(self, run: Run, changes: Mapping[str, Any]) -> Future[WhatIf]:
        """What a run's controller would have decided with other values, on the history that the run has so far.

        An approximation: another K would have made another history. Computed in a thread of its own, in milliseconds
        once it is compiled.

        **Arguments:**

        - `changes`: values of the controller by name, also its `kind`. A run whose K is fixed or scheduled is asked
          about with the problem's own PRDP; these values change that.

        **Raises:** `ValueError` in words; nothing is computed then.
        """
        settings = run.settings
        controller = other_controller(settings, changes)
        return self._worker.request(
            lambda: decide(history_of(settings, run.log.read()), controller, room=settings.epochs + 1)
        )


@functools.cache
def shared_engine() -> Engine:
    """The engine of this process, which all its pages and loops share. Without a store that can be used it keeps no
    runs.
    """
    try:
        return Engine(Store())
    except StoreError as error:
        return Engine(not_kept=f"{error} Runs are not kept.")
