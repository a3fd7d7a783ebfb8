"""Rollouts: what trained models make step by step, beside the truth."""

from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_helpers import PATIENCE, TOY, PlainToy, Toy, recorder_of, undisturbed, wait_for_epoch, wait_for_state

from prdp_explorer import PRDP, Engine, Problem, Run
from prdp_explorer.engine import Rollout, settings_for
from prdp_explorer.engine._rollouts import Parameters, roll_out
from prdp_explorer.engine._training import Training
from prdp_explorer.physics import burgers_step_exactly
from prdp_explorer.problems import SCENARIOS, InnerSolve
from prdp_explorer.problems._burgers import BurgersEmulator
from prdp_explorer.problems._heat import HeatEmulator
from prdp_explorer.problems._navier_stokes import NavierStokesCorrector
from prdp_explorer.problems._networks import FieldMLP
from prdp_explorer.solvers import GMRES, Detached

pytestmark = pytest.mark.usefixtures("quickly")

CONTROLLER = PRDP(maximum=8)


class RollingToy(PlainToy):
    """Its map makes step after step; counts its traces."""

    rollout_steps = 4

    def rollout(self, model, validation, sample, solve, steps):
        self.traces += 1
        mine, true = [validation["start"][sample]], [validation["start"][sample]]
        for _ in range(steps):
            mine.append(model(mine[-1]))
            true.append(solve(self.operator, true[-1]))
        return {"model": jnp.stack(mine), "a truth": jnp.stack(true)}


ROLLING = RollingToy()


def rollout(engine: Engine, run: Run, **choices: Any) -> Rollout:
    return engine.rollout(run, **choices).result(PATIENCE)


def repeated(weight: Any, bias: Any, start: np.ndarray, steps: int) -> np.ndarray:
    states = [np.asarray(start, np.float32)]
    for _ in range(steps):
        states.append(np.asarray(weight) @ states[-1] + np.asarray(bias))
    return np.stack(states)


def trained(run: Run, epochs: int) -> Any:
    """The model of a run after so many epochs, trained here."""
    training = Training(run.started_with)
    training._advance_to(epochs)
    return training.model


def assert_made_by(result: Rollout, model: Any) -> None:
    start = ROLLING.data()[1]["start"][result.sample]
    np.testing.assert_allclose(
        result.fields["model"], repeated(model.weight, model.bias, start, result.steps), rtol=1e-4, atol=1e-5
    )


class TestEngine:
    def test_of_a_paused_run_is_of_its_model_now(self, engine: Engine):
        run = engine.start(ROLLING, epochs=1000)
        wait_for_epoch(run, 3)
        run.pause()
        wait_for_state(run, "paused")
        result = rollout(engine, run, sample=2)
        assert (result.epoch, result.sample, result.steps) == (run.epoch, 2, 4)
        assert list(result.fields) == ["model", "a truth"]
        assert_made_by(result, trained(run, run.epoch))

    def test_while_it_trains_it_disturbs_nothing(self, engine: Engine):
        rollout(engine, engine.start(ROLLING, epochs=1))  # compiles
        run = engine.start(ROLLING, epochs=3000, pace=1000)
        epochs = []
        while not run.ended:
            epochs.append(rollout(engine, run).epoch)
        assert epochs == sorted(epochs)
        assert len(set(epochs)) > 2
        alone, rows = undisturbed(run)
        np.testing.assert_array_equal(run.log.read()["validation"], rows["validation"])
        assert_made_by(rollout(engine, run), alone.model)

    def test_the_end_is_known_without_a_store(self, engine: Engine):
        run = engine.start(ROLLING, epochs=5)
        assert run.wait(timeout=PATIENCE)
        wait_for_state(run, "finished")
        result = rollout(engine, run)
        assert result.epoch == 5
        assert_made_by(result, trained(run, 5))

    def test_without_anything_at_hand_it_is_of_the_network_before_training(self, engine: Engine):
        run = engine.start(ROLLING, epochs=5, seed=3)
        assert run.wait(timeout=PATIENCE)
        result = rollout(engine, run, epoch=2)
        assert result.epoch == 0
        assert_made_by(result, trained(run, 0))

    def test_of_an_earlier_epoch_it_takes_the_newest_checkpoint_until_then(self, keeping: Engine):
        run = keeping.start(ROLLING, epochs=1000)
        stands = []
        for epoch in (2, 5):
            wait_for_epoch(run, epoch)
            run.pause()
            wait_for_state(run, "paused")
            recorder_of(keeping).write()
            stands.append(run.epoch)
            run.resume()
            wait_for_epoch(run, run.epoch + 2)
        run.stop()
        assert run.wait(timeout=PATIENCE)
        first, second = stands
        assert second > first
        result = rollout(keeping, run, epoch=second - 1)
        assert first <= result.epoch < second
        assert_made_by(result, trained(run, result.epoch))
        assert rollout(keeping, run, epoch=second).epoch == second
        assert rollout(keeping, run).epoch == run.epoch > second

    def test_one_compilation_serves_all_runs_epochs_and_samples(self, engine: Engine):
        problem = RollingToy()
        run = engine.start(problem, epochs=5)
        assert run.wait(timeout=PATIENCE)
        rollout(engine, run)
        before = problem.traces
        for sample in range(3):
            rollout(engine, run, sample=sample, epoch=sample)
        other = engine.start(problem, epochs=5, seed=1)
        assert other.wait(timeout=PATIENCE)
        traces = problem.traces
        rollout(engine, other)
        assert problem.traces == traces
        assert traces - before <= 1  # of the training step, at most

    def test_other_steps(self, engine: Engine):
        run = engine.start(ROLLING, epochs=2)
        assert run.wait(timeout=PATIENCE)
        assert rollout(engine, run, steps=7).steps == 7
        for steps in (0, -1, 1001, 2.5, "4"):
            with pytest.raises(ValueError, match="`steps` must be a whole number from 1 to 1000"):
                engine.rollout(run, steps=cast(Any, steps))

    @pytest.mark.parametrize("sample", [-1, 5, 1.5])
    def test_a_sample_that_there_is_not(self, engine: Engine, sample):
        run = engine.start(ROLLING, epochs=2)
        with pytest.raises(ValueError, match="`sample` must be a whole number from 0 to 4"):
            rollout(engine, run, sample=sample)

    def test_a_problem_without_rollouts_says_so(self, engine: Engine):
        run = engine.start(TOY, epochs=2)
        with pytest.raises(ValueError, match="offers no rollout"):
            engine.rollout(run)

    def test_a_rollout_without_a_truth_is_refused(self, engine: Engine):
        class Lonely(Toy):
            rollout_steps = 3

            def rollout(self, model, validation, sample, solve, steps):
                return {"model": validation["start"]}

        run = engine.start(Lonely(), epochs=2)
        with pytest.raises(ValueError, match="`rollout` must give"):
            rollout(engine, run)


def rolled_out(problem: Problem, sample: int = 1) -> tuple[dict[str, np.ndarray], Any, Any]:
    """What the problem makes with a fresh model, the model, and its sample."""
    model = problem.model(jax.random.PRNGKey(0))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array))]
    result = roll_out(settings_for(problem), Parameters(0, leaves), sample, problem.rollout_steps)
    return dict(result.fields), model, np.asarray(problem.data()[1][sample])


def stepped(step: Any, start: np.ndarray, steps: int) -> np.ndarray:
    states = [start]
    for _ in range(steps):
        states.append(step(states[-1]))
    return np.stack(states)


class TestEmulators:
    @pytest.mark.parametrize("dimensions", [1, 2, 3])
    def test_heat(self, dimensions: int):
        problem = HeatEmulator(
            dimensions,
            lambda key: FieldMLP(6**dimensions, 4, 1, key=key),
            num_points=6,
            diffusion=0.02,
            full_iterations=2,  # far from converged: the truth must not depend on it
            controller=CONTROLLER,
            num_training_samples=25,
        )
        fields, model, sample = rolled_out(problem)
        assert list(fields) == ["trained network", "true solver"]
        exact = stepped(problem.operator.solve_exactly, sample[0], 20)
        np.testing.assert_allclose(fields["true solver"], exact, atol=3e-6 * np.abs(exact).max())
        made = stepped(lambda u: np.asarray(model(jnp.asarray(u))), sample[0], 20)
        np.testing.assert_allclose(fields["trained network"], made, rtol=1e-4, atol=1e-6)

    def test_burgers(self):
        problem = BurgersEmulator(
            num_points=32, channels=2, blocks=1, dt=0.05, viscosity=0.002, controller=CONTROLLER,
            num_training_samples=25, num_validation_samples=2,
        )  # fmt: skip
        fields, model, sample = rolled_out(problem)
        exact = stepped(lambda u: burgers_step_exactly(u, 0.05, 0.002), sample[0], 20)
        np.testing.assert_allclose(fields["true solver"], exact, atol=1e-5 * np.abs(exact).max())
        np.testing.assert_allclose(fields["true solver"][: problem.num_steps + 1], sample, atol=1e-5)
        apply = eqx.filter_jit(model)
        made = stepped(lambda u: np.asarray(apply(jnp.asarray(u))), sample[0], 20)
        np.testing.assert_allclose(fields["trained network"], made, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def rolled():
    problem = NavierStokesCorrector(
        fine_points=13, channels=2, blocks=1, averages="proper", num_training_samples=25, num_validation_samples=2
    )
    return problem, *rolled_out(problem)


class TestNavierStokes:
    def test_the_reference_is_that_of_the_data_and_goes_on(self, rolled):
        problem, fields, _, sample = rolled
        assert list(fields) == ["coarse solver alone", "with the trained network", "reference"]
        assert {field.shape for field in fields.values()} == {(21, 4, 6, 6)}
        np.testing.assert_allclose(fields["reference"][: problem.num_metric_steps + 1, 1:], sample, atol=1e-5)
        assert np.isfinite(fields["reference"]).all()
        assert np.abs(np.diff(fields["reference"], axis=0)).max(axis=(1, 2, 3)).min() > 1e-4

    def test_the_network_corrects_each_step_of_the_coarse_solver(self, rolled):
        problem, fields, model, sample = rolled
        solve = InnerSolve(GMRES(), Detached(), jnp.asarray(problem.full_iterations), problem.rtol)
        corrected = problem._rollout(model, jnp.asarray(sample[None, 0]), 3, solve)[0]
        np.testing.assert_allclose(fields["with the trained network"][1:4, 1:], corrected, atol=1e-4)
        alone = problem._rollout(lambda state: jnp.zeros_like(state), jnp.asarray(sample[None, 0]), 3, solve)[0]
        np.testing.assert_allclose(fields["coarse solver alone"][1:4, 1:], alone, atol=1e-4)


@pytest.mark.parametrize("name", SCENARIOS)
def test_all_but_inverse_problems_offer_one(name: str):
    for problem in SCENARIOS[name].presets.values():
        assert bool(problem.rollout_steps) is not bool(problem.reference_parameters)
        if not problem.rollout_steps:
            assert problem.rollout(None, None, jax.ShapeDtypeStruct((), jnp.int32), None, 3) == {}  # pyrefly: ignore[bad-argument-type]
