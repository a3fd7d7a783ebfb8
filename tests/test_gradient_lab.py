"""The gradient lab: that it tells the truth about gradients, and leaves training and its seconds alone."""

import threading
import time
from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_helpers import (
    PATIENCE,
    TOY,
    BlockingToy,
    PlainToy,
    Toy,
    recorder_of,
    undisturbed,
    wait_for_adjustment,
    wait_for_epoch,
    wait_for_state,
)

from prdp_explorer import Engine, Problem, Run
from prdp_explorer.engine import GradientLab, settings_for, suited_modes
from prdp_explorer.engine._gradient_lab import GradientProbe, checked_modes
from prdp_explorer.engine._loop import loop_settings
from prdp_explorer.engine._rollouts import Parameters
from prdp_explorer.physics import HeatOperator
from prdp_explorer.solvers import DIFFERENTIATIONS, FunctionSolver

pytestmark = pytest.mark.usefixtures("quickly")

PLAIN = PlainToy()
EXACT = ("implicit", "unrolled", "exact-adjoint")


def looked(engine: Engine, run: Run, **choices: Any) -> GradientLab:
    return engine.gradient_lab(run, **choices).result(PATIENCE)


def leaves_of(problem: Problem) -> list[np.ndarray]:
    """A fresh linear map, the same one in either precision, in that of now."""
    with jax.enable_x64(False):
        model = problem.model(jax.random.PRNGKey(3))
    return [np.asarray(leaf, jnp.result_type(float)) for leaf in jax.tree.leaves(model)]


def probed(
    problem: Problem, solver: str, counts: tuple[int, ...], modes: tuple[str, ...] = DIFFERENTIATIONS
) -> GradientLab:
    settings = settings_for(problem, solver=solver, differentiation=problem.differentiations[0])
    return GradientProbe(settings, modes, max(counts)).measure(Parameters(0, leaves_of(problem)), counts, counts[0])


def dense_matrix(problem: Toy) -> np.ndarray:
    return np.stack([np.asarray(problem.operator.matvec(jnp.asarray(row))) for row in np.eye(6)], axis=1)


def splitting(problem: Toy, solver: str) -> np.ndarray:
    """M of A = M - N, by which an iteration is u + M⁻¹ (b - A u)."""
    a = dense_matrix(problem)
    if solver == "jacobi":
        return np.diag(np.diag(a))
    first = np.asarray(problem.operator.first_color(jnp.zeros(6)))
    return np.where(first[None, :] & ~first[:, None] | np.eye(6, dtype=bool), a, 0)


def after(m: np.ndarray, a: np.ndarray, iterations: int) -> np.ndarray:
    """The matrix P_K by which K iterations from zero make u of b."""
    inverse = np.linalg.inv(m)
    contraction = np.eye(6) - inverse @ a
    powers = (np.linalg.matrix_power(contraction, k) for k in range(iterations))
    return sum((power @ inverse for power in powers), np.zeros((6, 6)))


def dense_gradients(problem: Toy, solver: str, iterations: int) -> Mapping[str, np.ndarray]:
    """The gradient with respect to weight and bias by mode, and the converged one, of dense matrices in NumPy."""
    a, m = dense_matrix(problem), splitting(problem, solver)
    exact, coarse = np.linalg.inv(a), after(m, a, iterations)
    batch = {name: np.asarray(leaf[: problem.batch_size]) for name, leaf in problem.data()[0].items()}
    weight, bias = leaves_of(problem)
    output = batch["start"] @ weight.T + bias

    def gradient(primal: np.ndarray, adjoint: np.ndarray) -> np.ndarray:
        cotangent = 2 * (output @ primal.T - batch["second"]) / output.size @ adjoint.T
        return np.r_[np.ravel(cotangent.T @ batch["start"]), cotangent.sum(axis=0)]

    return {
        "implicit": gradient(coarse, after(m, a.T, iterations)),  # the ordering is that of A, which is symmetric
        "unrolled": gradient(coarse, coarse.T),
        "exact-adjoint": gradient(coarse, exact.T),
        "truncated": gradient(coarse, after(m, a, min(iterations, 5)).T),
        "one-step": gradient(coarse, np.linalg.inv(m).T),
        "detached": gradient(coarse, np.zeros((6, 6))),
        "converged": gradient(exact, exact.T),
    }


@pytest.mark.usefixtures("float64")
class TestTruth:
    @pytest.mark.parametrize("solver", ["jacobi", "gauss-seidel"])
    def test_of_every_mode_and_count_it_is_that_of_dense_solves(self, solver: str):
        counts = (1, 2, 5, 9)
        lab = probed(PLAIN, solver, counts)
        assert (lab.modes, lab.counts) == (DIFFERENTIATIONS, counts)
        for column, count in enumerate(counts):
            gradients = dense_gradients(PLAIN, solver, count)
            true = gradients["converged"]
            np.testing.assert_allclose(lab.converged_norm, np.linalg.norm(true), rtol=1e-10)
            for row, mode in enumerate(lab.modes):
                mine = gradients[mode]
                norm = np.linalg.norm(mine)
                np.testing.assert_allclose(lab.norm[row, column], norm, rtol=1e-10, atol=1e-300)
                wrong = np.linalg.norm(mine - true) / np.linalg.norm(true)
                np.testing.assert_allclose(lab.relative_error[row, column], wrong, rtol=1e-8)
                cosine = mine @ true / (norm * np.linalg.norm(true)) if norm else np.nan
                np.testing.assert_allclose(lab.cosine[row, column], cosine, rtol=1e-12)
                np.testing.assert_allclose(lab.one_minus_cosine[row, column], 1 - cosine, rtol=1e-5, atol=1e-14)

    def test_the_modes_compared_differ(self):
        """Else the test above would not tell one from another."""
        gradients = dense_gradients(PLAIN, "gauss-seidel", 7)
        norms = sorted(float(np.linalg.norm(gradient)) for gradient in gradients.values())
        assert min(np.diff(norms)) > 1e-6 * norms[-1]

    def test_exact_modes_get_there_and_the_others_do_not(self):
        lab = probed(PLAIN, "jacobi", (1, 300))
        by_mode = dict(zip(lab.modes, zip(lab.one_minus_cosine, lab.relative_error, strict=True), strict=True))
        for mode in EXACT:
            (coarse, cosine), (wrong, error) = by_mode[mode]
            assert cosine < 1e-20 < 1e-6 < coarse
            assert error < 1e-10 < 1e-3 < wrong
        for mode in ("truncated", "one-step"):
            assert by_mode[mode][1][1] > 1e-3
        (_, cosine), (_, error) = by_mode["detached"]  # in this problem all of the gradient passes the solve
        assert np.isnan(cosine)
        assert error == 1

    def test_a_solver_that_diverges_has_nothing_to_compare_with(self):
        class Diverging(PlainToy):
            solvers = ("away",)
            own_solvers = {"away": FunctionSolver(lambda operator, b, x, _: x + 3 * (b - operator.matvec(x)))}  # noqa: RUF012

        with pytest.raises(ValueError, match="does not converge"):
            probed(Diverging(), "away", (1, 2))

    def test_a_solver_called_once_a_solve(self):
        def sweeps(operator: Any, b: Any, x: Any, iterations: Any) -> Any:
            body = lambda _, u: u + (b - operator.matvec(u)) / operator.diagonal()  # noqa: E731
            return jax.lax.fori_loop(0, iterations, body, x)

        class Once(PlainToy):
            solvers = ("once",)
            own_solvers = {"once": FunctionSolver(sweeps, cycles=False)}  # noqa: RUF012
            differentiations = ("implicit", "detached")

        lab = probed(Once(), "once", (2, 5), ("implicit", "detached"))
        np.testing.assert_allclose(
            lab.relative_error, probed(PLAIN, "jacobi", (2, 5), ("implicit", "detached")).relative_error, rtol=1e-6
        )

    def test_a_matrix_without_a_transpose(self):
        class Untransposed(HeatOperator):
            def transpose(self):
                raise NotImplementedError

        class Forward(PlainToy):
            differentiations = ("unrolled",)

            def __init__(self):
                super().__init__()
                self.operator = Untransposed(0.02, 6)

        lab = probed(Forward(), "jacobi", (2, 5), ("unrolled",))
        same = probed(PLAIN, "jacobi", (2, 5), ("unrolled",))
        np.testing.assert_allclose(lab.relative_error, same.relative_error, rtol=1e-6)


def test_in_single_precision_angles_are_seen_that_the_cosine_rounds_away():
    with jax.enable_x64(True):
        exactly = probed(PLAIN, "jacobi", (8, 17), ("unrolled",))
    lab = probed(PLAIN, "jacobi", (8, 17), ("unrolled",))
    assert lab.one_minus_cosine[0, 1] < jnp.finfo(jnp.float32).eps
    np.testing.assert_allclose(lab.one_minus_cosine, exactly.one_minus_cosine, rtol=0.05)


class TestEngine:
    def test_of_a_paused_run_by_default(self, engine: Engine):
        run = engine.start(PLAIN, epochs=1000)
        wait_for_epoch(run, 3)
        run.pause()
        wait_for_state(run, "paused")
        lab = looked(engine, run)
        assert (lab.epoch, lab.iterations) == (run.epoch, run.next_iterations)
        assert lab.modes == DIFFERENTIATIONS
        assert {1, run.next_iterations, PLAIN.full_iterations} <= set(lab.counts)
        assert list(lab.counts) == sorted(lab.counts)
        assert 6 <= len(lab.counts) <= 9
        assert lab.relative_error.shape == (len(lab.modes), len(lab.counts))
        # K of now, the parameters of now: the gradient that the next update takes.
        few = looked(engine, run, modes=["implicit"], counts=())
        assert few.counts == (run.next_iterations,)
        np.testing.assert_array_equal(few.norm[0, 0], lab.norm[0, lab.counts.index(run.next_iterations)])
        # One mode after another is the same, although training goes on.
        one = looked(engine, run, modes=DIFFERENTIATIONS[:1])
        run.step()
        wait_for_epoch(run, lab.epoch + 1)
        both = one.with_modes_of(looked(engine, run, modes=DIFFERENTIATIONS[1:], beside=one))
        assert (both.epoch, both.iterations, both.modes, both.counts) == (
            lab.epoch,
            lab.iterations,
            lab.modes,
            lab.counts,
        )
        for name in ("one_minus_cosine", "relative_error", "norm"):
            np.testing.assert_array_equal(getattr(both, name), getattr(lab, name))

    def test_of_a_refined_tolerance_k_is_what_was_used(self, engine: Engine):
        run = engine.start(PLAIN, {"kind": "prdp-tolerance", "rtol_initial": 0.1, "maximum": 12}, epochs=3)
        assert run.wait(timeout=PATIENCE)
        used = int(run.log.read()["iterations"][-1])
        assert 0 < used < 12
        assert looked(engine, run, modes=["implicit"], counts=(12,)).iterations == used

    def test_training_is_the_same_to_the_last_bit(self, engine: Engine):
        looked(engine, _over(engine), modes=["implicit"])  # compiles
        run = engine.start(PLAIN, epochs=1500, pace=1000)
        epochs = []
        while not run.ended:
            if len(run.log):
                epochs.append(looked(engine, run, modes=["implicit"]).epoch)
        assert len(set(epochs)) > 2
        alone, rows = undisturbed(run)
        mine = run.log.read()
        for name in ("iterations", "train_loss", "validation", "smoothed", "plateau_ratio"):
            np.testing.assert_array_equal(mine[name], rows[name])
        wait_for_state(run, "finished")
        assert run.log.checkpoint is not None
        for mine, undisturbed_leaf in zip(run.log.checkpoint.leaves, alone.checkpoint().leaves, strict=True):
            np.testing.assert_array_equal(mine, undisturbed_leaf)

    def test_training_waits_meanwhile_and_its_seconds_do_not_contain_the_probe(
        self, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ):
        run = engine.start(PLAIN, epochs=100_000)
        other = engine.start(PLAIN, epochs=100_000, pace=50)
        wait_for_epoch(run, 3)
        computing, go_on = threading.Event(), threading.Event()
        measure = GradientProbe.measure

        def slowly(self: GradientProbe, *arguments: Any) -> GradientLab:
            computing.set()
            assert go_on.wait(PATIENCE)
            return measure(self, *arguments)

        monkeypatch.setattr(GradientProbe, "measure", slowly)
        asked = engine.gradient_lab(run, modes=["implicit"], counts=(1, 2))
        assert computing.wait(PATIENCE)
        began, spent, epoch, others = time.perf_counter(), run.seconds["train"], run.epoch, other.epoch
        wait_for_epoch(other, others + 5)  # the races of others go on
        run.adjust(learning_rate=0.005)
        assert wait_for_adjustment(run, "learning_rate") == epoch + 1
        run.pause()
        wait_for_state(run, "paused")
        run.step()
        wait_for_epoch(other, other.epoch + 5)
        assert (run.epoch, run.seconds["train"]) == (epoch, spent)
        waited = time.perf_counter() - began
        go_on.set()
        assert asked.result(PATIENCE).epoch == epoch
        wait_for_epoch(run, epoch + 1)  # the step that was wanted
        wait_for_state(run, "paused")
        assert run.epoch == epoch + 1
        run.resume()
        wait_for_epoch(run, epoch + 5)
        run.stop()
        assert run.wait(timeout=PATIENCE)
        assert run.log.read()["seconds"].sum() <= time.perf_counter() - began + spent - waited

    def test_what_fails_lets_training_go_on(self, engine: Engine, monkeypatch: pytest.MonkeyPatch):
        def broken(*_: Any) -> GradientLab:
            raise RuntimeError("broken")

        monkeypatch.setattr(GradientProbe, "measure", broken)
        run = engine.start(PLAIN, epochs=100_000)
        wait_for_epoch(run, 1)
        with pytest.raises(RuntimeError, match="broken"):
            looked(engine, run)
        wait_for_epoch(run, run.epoch + 5)

    def test_one_compilation_a_mode_serves_all_runs_epochs_and_counts(self, engine: Engine):
        problem = PlainToy()
        run = _over(engine, problem)
        looked(engine, run, modes=["implicit", "one-step"])
        traces = problem.traces
        looked(engine, run, modes=["one-step"], counts=(3, 4, 11), epoch=0)
        looked(engine, _over(engine, problem, seed=1), modes=["implicit"], counts=())
        assert problem.traces == traces

    def test_of_an_earlier_epoch(self, keeping: Engine):
        run = keeping.start(PLAIN, epochs=1000)
        wait_for_epoch(run, 3)
        run.pause()
        wait_for_state(run, "paused")
        recorder_of(keeping).write()
        then = run.epoch
        now = looked(keeping, run, modes=["unrolled"], counts=(1,))
        run.resume()
        wait_for_epoch(run, then + 20)
        earlier = looked(keeping, run, modes=["unrolled"], counts=(1,), epoch=then)
        assert (earlier.epoch, earlier.iterations) == (now.epoch, now.iterations) == (then, now.iterations)
        np.testing.assert_array_equal(earlier.norm, now.norm)
        run.stop()


class TestErrors:
    @pytest.mark.parametrize(
        ("choices", "words"),
        [
            ({"modes": ["backwards"]}, "`differentiation` must be one of implicit"),
            ({"modes": []}, "`modes` must be names"),
            ({"modes": "implicit"}, "`modes` must be names"),
            ({"counts": [0]}, "`counts`"),
            ({"counts": [1.5]}, "`counts`"),
            ({"counts": 3}, "`counts` must be values of K"),
        ],
    )
    def test_what_there_is_not(self, engine: Engine, choices: dict[str, Any], words: str):
        run = _over(engine)
        with pytest.raises(ValueError, match=words):
            engine.gradient_lab(run, **cast(Any, choices))

    def test_a_run_that_has_not_begun(self, engine: Engine):
        problem = BlockingToy()
        run = engine.start(problem)
        try:
            with pytest.raises(ValueError, match="has not begun"):
                engine.gradient_lab(run)
        finally:
            problem.released.set()
            run.stop()

    def test_a_loop_of_ones_own(self, engine: Engine):
        race = engine.drive(loop_settings("mine", full_iterations=5), lambda: None)
        with pytest.raises(ValueError, match="A loop of one's own"):
            engine.gradient_lab(next(iter(race.runs.values())))

    def test_a_run_that_diverged(self, engine: Engine):
        run = engine.start(PLAIN, epochs=400, learning_rate=1e5)
        assert run.wait(timeout=PATIENCE)
        wait_for_state(run, "diverged")
        with pytest.raises(ValueError, match=r"not finite.*diverged"):
            looked(engine, run)

    def test_parameters_that_are_no_numbers(self):
        weight, bias = leaves_of(PLAIN)
        probe = GradientProbe(settings_for(PLAIN), ("one-step",), 1)
        with pytest.raises(ValueError, match="after epoch 7 is not finite"):
            probe.measure(Parameters(7, [weight, bias * np.nan]), (1,), 1)

    def test_modes_that_do_not_suit_the_solver_are_left_out(self):
        settings = settings_for(PLAIN, solver="cg", differentiation="exact-adjoint")
        suited = ("exact-adjoint", "implicit", "unrolled", "detached")  # that of the run in front
        assert suited_modes(settings) == checked_modes(settings, None) == suited


def _over(engine: Engine, problem: Problem = PLAIN, **choices: Any) -> Run:
    run = engine.start(problem, epochs=2, **choices)
    assert run.wait(timeout=PATIENCE)
    wait_for_state(run, "finished")
    return run


def test_a_problem_that_offers_few_modes(engine: Engine):
    lab = looked(engine, _over(engine, TOY))
    assert lab.modes == ("implicit", "unrolled")
