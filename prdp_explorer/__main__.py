"""The command line: `python -m prdp_explorer list`, `run` and `check`, and what is done with kept runs."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

from tqdm import tqdm

from ._kept_commands import ENDINGS, delete, export, import_, report, runs, show
from ._output import check_writable, write_json
from ._story_command import ALL, story
from .engine import (
    METRICS,
    STORE_VARIABLE,
    Engine,
    Run,
    RunSettings,
    Store,
    StoreError,
    check_problem,
    default_place,
    not_offered,
    settings_for,
)
from .problems import OWN, PROBLEMS_VARIABLE, Problem, problem_at, register, scenarios
from .refinement import PRDP, TolerancePRDP

_TOLERANCE_LIMITS = {name: limits for name, limits in TolerancePRDP.limits.items() if name.startswith("rtol")}
"""Of the flags that make PRDP refine a tolerance instead of K."""


_PLACE = "FILE.py:NAME"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and exit status 2, where argparse would print the usage as well."""
        self.exit(2, f"{self.prog}: {message}. Try {self.prog} --help.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
        place = getattr(options, "problem", None)
        if place is not None and not hasattr(options, "scenario"):
            register(problem_at(place), place=place)
        return options.command(options)
    except ValueError as error:
        sys.stderr.write(f"prdp_explorer: {error}\n")
        return 2
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("prdp_explorer: interrupted.\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="prdp_explorer",
        description="Progressively refined differentiable physics.",
        epilog=f"Problems of one's own that all commands and the page know: {PROBLEMS_VARIABLE}={_PLACE},…",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the scenarios and what they offer")
    listing.set_defaults(command=_list)

    run = commands.add_parser("run", help="train a scenario, unpaced, and print what came of it")
    run.set_defaults(command=_run)
    checking = commands.add_parser("check", help="whether a problem of one's own is fit to be trained, in words")
    checking.set_defaults(command=_check)
    for command in (run, checking):
        command.add_argument("scenario", metavar="SCENARIO", nargs="?", help="an id that `list` shows")
        command.add_argument("--problem", metavar=_PLACE, help="a problem of one's own instead of SCENARIO")
        command.add_argument("--preset", help="live (default) or paper, the published set-up")
    run.add_argument("--refinement", choices=("prdp", "constant"), default="prdp", help="how K is chosen")
    run.add_argument("--iterations", type=_number(int), metavar="K", help="K of --refinement constant; default K_full")
    for name, limits in {**PRDP.limits, **_TOLERANCE_LIMITS}.items():
        metavar = "N" if limits.kind is int else "X"
        run.add_argument(_flag(name), type=_number(limits.kind), metavar=metavar, help=f"PRDP: {limits.doc}")
    run.add_argument("--learning-rate", type=_number(float), metavar="X", help="before its decay")
    run.add_argument("--metric", choices=METRICS, default=METRICS[0], help="what PRDP looks at")
    for command in (run, checking):
        command.add_argument("--solver", help="the inner solver")
    run.add_argument("--differentiation", metavar="MODE", help="how the gradient passes the inner solver")
    run.add_argument("--seed", type=_number(int), default=0, metavar="N", help="default 0")
    run.add_argument("--epochs", type=_number(int), metavar="N", help="default: the preset's")
    files = {
        "export": "the file to write; - for CSV on standard output",
        "import": "the file to read",
        "report": "the .html file to write",
    }
    kept = []
    for name, function, words in (
        ("runs", runs, "the runs that are kept, newest first"),
        ("show", show, "a run: its settings, and what happened"),
        ("export", export, f"a run as a file of a kind that its ending chooses: {', '.join(ENDINGS)}"),
        ("import", import_, "take in the runs of a .prdp file"),
        ("report", report, "a run as one HTML page that needs no network"),
        ("resume", _resume, "go on with a run that was interrupted or stopped"),
        ("delete", delete, "hide a run, or bring it back"),
    ):
        command = commands.add_parser(name, help=words)
        command.set_defaults(command=function)
        if name not in ("runs", "import"):
            command.add_argument("id", metavar="ID", help="a run's, as `runs` shows it")
        if name in files:
            command.add_argument("file", metavar="FILE", help=files[name])
        if name in ("export", "report", "resume"):
            command.add_argument("--problem", metavar=_PLACE, help="the problem of one's own that it learned")
        if name == "delete":
            command.add_argument("--undo", action="store_true", help="bring a deleted run back")
        kept.append(command)
    telling = commands.add_parser("story", help="the stories, or one of them as an HTML page that needs no server")
    telling.set_defaults(command=story)
    telling.add_argument("id", metavar="STORY", nargs="?", help=f"its id, or {ALL}; without one they are listed")
    telling.add_argument("file", metavar="PLACE", nargs="?", help=f"the .html file to write; for {ALL} a folder")
    for command in (run, *kept):
        command.add_argument(
            "--store", metavar="FILE", help=f"where runs are kept; default ${STORE_VARIABLE}, or {default_place()}"
        )
    for command in (listing, run, checking, telling, *kept):
        command.add_argument("--json", metavar="FILE", help="write the result as JSON; - for standard output")
    return parser


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _number(kind: type) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}") from None

    return convert


def _list(options: argparse.Namespace) -> int:
    listed = [
        {
            "id": scenario.id,
            "title": scenario.title,
            "summary": scenario.summary,
            "teaches": scenario.teaches,
            "presets": list(scenario.presets),
            "solvers": _union(problem.solvers for problem in scenario.presets.values()),
            "differentiations": _union(problem.differentiations for problem in scenario.presets.values()),
            "full_iterations": {name: problem.full_iterations for name, problem in scenario.presets.items()},
            "chosen": list(scenario.chosen),
            "deterministic": all(problem.deterministic for problem in scenario.presets.values()),
            "not_offered": [
                {"names": list(names), "reason": reason}
                for names, reason in not_offered(next(iter(scenario.presets.values()))).items()
            ],
        }
        for scenario in scenarios().values()
    ]
    if options.json is not None:
        write_json(listed, options.json)
    if options.json != "-":
        for scenario in listed:
            print(f"{scenario['id']}: {scenario['title']}")
            print(f"  {scenario['summary']}")
            for name in ("presets", "solvers", "differentiations"):
                print(f"  {name}: {', '.join(scenario[name])}")
            for entry in scenario["not_offered"]:
                print(f"  not offered: {' with '.join(entry['names'])}: {entry['reason']}")
            if scenario["deterministic"]:
                print("  deterministic: the seed is not used")
            full = ", ".join(f"{count} ({preset})" for preset, count in scenario["full_iterations"].items())
            print(f"  iterations of full physics: {full}")
            for sentence in scenario["chosen"]:
                print(f"  chosen, not published: {sentence}")
    return 0


def _union(groups: Any) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))


def _settings(options: argparse.Namespace) -> RunSettings:
    """The settings that the flags of `run` stand for."""
    names = {**PRDP.limits, **_TOLERANCE_LIMITS}
    prdp_values = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.refinement == "constant":
        if prdp_values:
            flags = ", ".join(map(_flag, prdp_values))
            raise ValueError(f"{flags} belong to --refinement prdp; with constant give --iterations.")
        controller = {"kind": "constant"}
        if options.iterations is not None:
            controller["iterations"] = options.iterations
    else:
        if options.iterations is not None:
            raise ValueError("--iterations belongs to --refinement constant; with prdp give --initial and --maximum.")
        by_tolerance = any(name in prdp_values for name in _TOLERANCE_LIMITS)
        counting = [name for name in prdp_values if name not in TolerancePRDP.limits]
        if by_tolerance and counting:
            raise ValueError(
                f"{', '.join(map(_flag, counting))} refine K, and {', '.join(map(_flag, _TOLERANCE_LIMITS))} the "
                "tolerance; give the ones or the others. With a tolerance K is bounded by --maximum."
            )
        controller = {"kind": "prdp-tolerance" if by_tolerance else "prdp", **prdp_values}
    return settings_for(
        _problem(options),
        controller,
        preset=options.preset,
        solver=options.solver,
        differentiation=options.differentiation,
        metric=options.metric,
        seed=options.seed,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
    )


def _problem(options: argparse.Namespace) -> str | Problem:
    """The scenario or the problem of one's own that was named."""
    if (options.scenario is None) == (options.problem is None):
        raise ValueError("Give SCENARIO, which `list` shows, or --problem FILE.py:NAME, and not both.")
    if options.problem is None:
        return options.scenario
    return register(problem_at(options.problem), place=options.problem).presets[OWN]


def _check(options: argparse.Namespace) -> int:
    """Exit status 1 for a problem that is not fit to be trained."""
    check_writable(options.json)
    settings = settings_for(_problem(options), preset=options.preset, solver=options.solver)
    findings = check_problem(settings.problem, settings.solver)
    if options.json is not None:
        write_json([asdict(finding) for finding in findings], options.json)
    if options.json != "-":
        for finding in findings:
            print(f"{'ok    ' if finding.passed else 'BROKEN'}  {finding.about}: {finding.sentence}")
    return 0 if all(finding.passed for finding in findings) else 1


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    check_writable(options.json)
    with contextlib.ExitStack() as stack:
        try:
            store = stack.enter_context(contextlib.closing(Store(options.store)))
        except StoreError as error:
            sys.stderr.write(f"prdp_explorer: {error} This run is not kept.\n")
            store = None
        engine = stack.enter_context(contextlib.closing(Engine(store)))
        _tell(_trained(engine, engine.start_with(settings)), options)
    return 0


def _resume(options: argparse.Namespace) -> int:
    check_writable(options.json)
    store = Store(options.store, must_exist=True)
    with contextlib.closing(store), contextlib.closing(Engine(store)) as engine:
        runs = engine.resume(options.id).runs.values()
        (run,) = (run for run in runs if run.id == options.id)
        _tell(_trained(engine, run), options)
        for other in runs:
            other.wait()
    return 0


def _trained(engine: Engine, run: Run) -> dict[str, Any]:
    """Wait until a run is over, with a progress bar on a terminal, and collect the result."""
    seen = len(run.log)
    with tqdm(
        total=run.settings.epochs, initial=run.epoch, unit="epoch", file=sys.stderr, disable=not sys.stderr.isatty(),
        leave=False,
    ) as bar:  # fmt: skip
        while not run.wait(lambda run, seen=seen: len(run.log) > seen, timeout=1.0) or not run.ended:
            rows = run.log.read(seen)
            if len(rows):
                bar.set_postfix(K=rows[-1]["iterations"], error=f"{rows[-1]['validation']:.3g}", refresh=False)
                bar.update(len(rows) - (seen == 0))
                seen += len(rows)
    if run.state == "failed":
        raise ValueError(run.message)
    if engine.recorder is not None:
        engine.recorder.write()
        if engine.recorder.problem is not None:
            sys.stderr.write(f"prdp_explorer: {engine.recorder.problem} This run is not kept whole.\n")
    before, *records = run.log.records
    by_tolerance = run.settings.refinement["kind"] == "prdp-tolerance"
    return {
        "id": run.id,
        **run.settings.to_json(),
        "full_iterations": run.settings.problem.full_iterations,
        "deterministic": run.settings.problem.deterministic,
        "iterations": [record.iterations for record in records],
        **({"rtol": [record.rtol for record in records]} if by_tolerance else {}),
        "train_loss": [record.train_loss for record in records],
        "validation": [before.validation, *(record.validation for record in records)],
        "cumulative_iterations": sum(record.iterations for record in records),
        "compilations": run.compilations,
        "seconds": dict(run.seconds),
        "status": run.state,
    }


def _tell(result: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json is not None:
        write_json(result, options.json)
    if options.json != "-":
        _print_summary(result)


def _print_summary(result: dict[str, Any]) -> None:
    epochs = len(result["iterations"])
    spent, full = result["cumulative_iterations"], epochs * result["full_iterations"]
    seed = "deterministic, the seed is not used" if result["deterministic"] else f"seed {result['seed']}"
    print(f"{result['scenario']} ({result['preset']}), {seed}: {result['status']} after {epochs} epochs")
    print(f"validation error {result['validation'][0]:.4g} before training, {result['validation'][-1]:.4g} at the end")
    if epochs:
        print(
            f"inner iterations {spent:,} of {full:,} at full physics ({spent / full:.0%}), "
            f"last K {result['iterations'][-1]}"
        )
    seconds = result["seconds"]
    print(f"seconds: setup {seconds['setup']:.2f}, compile {seconds['compile']:.2f}, train {seconds['train']:.2f}")


if __name__ == "__main__":
    sys.exit(main())
