"""The command line: `python -m prdp_explorer list`, `run SCENARIO`, and what is done with runs that are kept."""

import argparse
import contextlib
import csv
import io
import json
import math
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from .engine import (
    METRICS,
    STORE_VARIABLE,
    Engine,
    Run,
    Store,
    StoredRun,
    StoreError,
    default_place,
    not_offered,
    settings_for,
)
from .problems import SCENARIOS
from .refinement import PRDP, TolerancePRDP

_TOLERANCE_LIMITS = {name: limits for name, limits in TolerancePRDP.limits.items() if name.startswith("rtol")}
"""Of the flags that make PRDP refine a tolerance instead of K."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and exit status 2, where argparse would print the usage as well."""
        self.exit(2, f"{self.prog}: {message}. Try {self.prog} --help.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
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
    parser = _Parser(prog="prdp_explorer", description="Progressively refined differentiable physics.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the scenarios and what they offer")
    listing.set_defaults(command=_list)

    run = commands.add_parser("run", help="train a scenario, unpaced, and print what came of it")
    run.set_defaults(command=_run)
    run.add_argument("scenario", metavar="SCENARIO", help="an id that `list` shows")
    run.add_argument("--preset", default="live", help="live (default) or paper, the published set-up")
    run.add_argument("--refinement", choices=("prdp", "constant"), default="prdp", help="how K is chosen")
    run.add_argument("--iterations", type=_number(int), metavar="K", help="K of --refinement constant; default K_full")
    for name, limits in {**PRDP.limits, **_TOLERANCE_LIMITS}.items():
        metavar = "N" if limits.kind is int else "X"
        run.add_argument(_flag(name), type=_number(limits.kind), metavar=metavar, help=f"PRDP: {limits.doc}")
    run.add_argument("--learning-rate", type=_number(float), metavar="X", help="before its decay")
    run.add_argument("--metric", choices=METRICS, default=METRICS[0], help="what PRDP looks at")
    run.add_argument("--solver", help="the inner solver")
    run.add_argument("--differentiation", metavar="MODE", help="how the gradient passes the inner solver")
    run.add_argument("--seed", type=_number(int), default=0, metavar="N", help="default 0")
    run.add_argument("--epochs", type=_number(int), metavar="N", help="default: the preset's")
    kept = []
    for name, function, words in (
        ("runs", _runs, "the runs that are kept, newest first"),
        ("show", _show, "a run: its settings, and what happened"),
        ("export", _export, "a run's records as CSV"),
        ("resume", _resume, "go on with a run that was interrupted or stopped"),
        ("delete", _delete, "hide a run, or bring it back"),
    ):
        command = commands.add_parser(name, help=words)
        command.set_defaults(command=function)
        if name != "runs":
            command.add_argument("id", metavar="ID", help="a run's, as `runs` shows it")
        if name == "export":
            command.add_argument("file", metavar="FILE", help="the CSV file to write; - for standard output")
        if name == "delete":
            command.add_argument("--undo", action="store_true", help="bring a deleted run back")
        kept.append((name, command))
    for command in (run, *(command for _, command in kept)):
        command.add_argument(
            "--store", metavar="FILE", help=f"where runs are kept; default ${STORE_VARIABLE}, or {default_place()}"
        )
    for command in (listing, run, *(command for name, command in kept if name not in ("export", "delete"))):
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
    scenarios = [
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
        for scenario in SCENARIOS.values()
    ]
    if options.json is not None:
        _write_json(scenarios, options.json)
    if options.json != "-":
        for scenario in scenarios:
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


def _run(options: argparse.Namespace) -> int:
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
    if options.json not in (None, "-"):
        _check_writable(options.json)
    settings = settings_for(
        options.scenario,
        controller,
        preset=options.preset,
        solver=options.solver,
        differentiation=options.differentiation,
        metric=options.metric,
        seed=options.seed,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
    )
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
    if options.json not in (None, "-"):
        _check_writable(options.json)
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
        _write_json(result, options.json)
    if options.json != "-":
        _print_summary(result)


def _runs(options: argparse.Namespace) -> int:
    with contextlib.closing(Store(options.store, must_exist=True)) as store:
        kept = [_listed(run) for run in store.runs()]
    if options.json is not None:
        _write_json(kept, options.json)
    if options.json != "-":
        for run in kept:
            when = datetime.fromtimestamp(run["created"]).astimezone().strftime("%Y-%m-%d %H:%M")
            error = "" if run["validation"] is None else f", error {run['validation']:.4g}"
            print(
                f"{run['id']}  {when}  {run['scenario']} ({run['preset']}), {run['label']}: {run['status']} after "
                f"{run['epochs']} of {run['epochs_requested']} epochs{error}"
            )
        if not kept:
            print("No run is kept yet.")
    return 0


def _listed(run: StoredRun) -> dict[str, Any]:
    """A kept run as plain data."""
    return {
        **{name: getattr(run, name) for name in ("id", "label", "race", "created", "status", "message", "epochs")},
        **{name: run.settings.get(name) for name in ("scenario", "preset", "seed", "solver", "differentiation")},
        "epochs_requested": run.settings.get("epochs"),
        **{name: run.summary.get(name) for name in ("validation", "iterations", "seconds")},
        "note": run.note,
    }


def _show(options: argparse.Namespace) -> int:
    with contextlib.closing(Store(options.store, must_exist=True)) as store:
        run, log = store.run(options.id), store.log(options.id)
    told = {
        **_listed(run),
        "settings": run.settings,
        "made_with": run.made_with,
        "events": [
            {"epoch": event.epoch, "name": event.name, "values": dict(event.values), "message": event.message}
            for event in log.events
        ],
    }
    if options.json is not None:
        _write_json(told, options.json)
    if options.json != "-":
        print(f"{run.id}: {run.label}, {run.message or run.status}")
        for title, values in (("settings", run.settings), ("result", run.summary), ("made with", run.made_with)):
            print(f"{title}: " + ", ".join(f"{name} {value}" for name, value in values.items()))
        for event in log.events:
            print(f"  epoch {event.epoch}: {event.message}")
    return 0


def _export(options: argparse.Namespace) -> int:
    if options.file != "-":
        _check_writable(options.file, "FILE")
    with contextlib.closing(Store(options.store, must_exist=True)) as store:
        rows = store.log(options.id).read()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.dtype.names or ())
    writer.writerows(rows.tolist())
    _write(text.getvalue(), options.file, "FILE")
    return 0


def _delete(options: argparse.Namespace) -> int:
    with contextlib.closing(Store(options.store, must_exist=True)) as store:
        (store.restore if options.undo else store.delete)(options.id)
    undo = f"`delete {options.id} --undo` brings it back"
    print(f"{options.id} is {'back' if options.undo else f'deleted; {undo}'}.")
    return 0


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


def _check_writable(file: str, name: str = "`--json`") -> None:
    """Refuse a bad path before training rather than after it, without touching the file."""
    path = Path(file)
    try:
        possible = not path.is_dir() and path.absolute().parent.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        possible = False
    if not possible:
        raise ValueError(f"{name} must be a file in an existing folder, or -; got {file!r}.")


def _write_json(value: Any, file: str) -> None:
    _write(json.dumps(_finite(value), indent=1, allow_nan=False) + "\n", file, "`--json`")


def _write(text: str, file: str, name: str) -> None:
    if file == "-":
        sys.stdout.write(text)
        return
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{name} could not be written to {file!r}: {error.strerror}.") from None


def _finite(value: Any) -> Any:
    """`value` with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
