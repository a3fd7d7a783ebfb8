"""Heat 1D, published set-up: whole runs of this package against the same training in the reference code's manner.

    python benchmarks/heat_1d_against_reference.py [--seed N] [--repeats N] [--json FILE]

Three programs train alike, from the same seed and data:

- package: `prdp_explorer.train`;
- reference: the manner of the paper's reference code (heat_1d_in_reference_manner.py), against which the claims stand;
- tightened: the same manner with the cheapest calls that it admits, to show how much of the gain is that.

Each measurement is a fresh process, which imports everything and prepares the data before the clock starts, then trains
`1 + AGAIN` times. What is measured:

- persistent cache off: seconds of the first run, everything compiled;
- persistent cache warm: seconds of the first run of a process that finds all compilations of an earlier one on disk,
  those of the smallest functions included, for every program;
- per epoch after compilation: seconds of the epochs of a further run in the same process, without its set-up, divided
  by their number; the median of `AGAIN` such runs, with the persistent cache off.

The programs take turns, and the table shows medians over the repeats. The K of every epoch must be the same for all
programs and the final validation errors must agree within 1 %: the script says so, and ends with status 1 if not. The
claims on time are printed as met or not; they are no condition, since a busy machine can break them.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

PROGRAMS = ("package", "reference", "tightened")
REFINEMENTS = ("prdp", "constant")
CLAIMS = {"persistent cache off": 3, "persistent cache warm": 10, "per epoch after compilation": 10}
"""How many times faster than the reference's manner a PRDP run is claimed to be, at least."""

AGAIN = 3
AGREEMENT = 0.01

Measured = dict[tuple[str, str], dict[str, list[float]]]
"""Seconds by refinement and program, then by what was measured."""


def main() -> int:
    """Measure, print the tables, and return the exit status."""
    parser = argparse.ArgumentParser(description="Heat 1D against the manner of the paper's reference code.")
    parser.add_argument("--seed", type=int, default=1, help="of the network and the order of the samples; default 1")
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes a measurement; default 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_train(options.child[0], options.child[1], options.seed)))
        return 0

    began = time.perf_counter()
    print(f"heat-1d, preset paper, seed {options.seed}; {options.repeats} fresh processes a measurement, medians")
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load {_load()}\n")
    measured, outcomes = _measure(options.seed, options.repeats)
    medians = {key: {name: statistics.median(of) for name, of in times.items()} for key, times in measured.items()}
    _print_table("PRDP, seconds", medians, "prdp", CLAIMS)
    _print_table("full physics (K = K_full throughout), seconds", medians, "constant", {})
    agree = [_print_agreement(refinement, outcomes) for refinement in REFINEMENTS]
    print(f"\nload {_load()} at the end; this took {time.perf_counter() - began:.0f} s")
    if options.json:
        table = {
            refinement: {program: measured[refinement, program] for program in PROGRAMS} for refinement in REFINEMENTS
        }
        options.json.write_text(json.dumps({"seed": options.seed, "seconds": table, "agree": all(agree)}, indent=1))
    return 0 if all(agree) else 1


def _measure(seed: int, repeats: int) -> tuple[Measured, dict[tuple[str, str], list[dict[str, Any]]]]:
    """All measurements, and what every process gave, both by refinement and program."""
    keys = [(refinement, program) for refinement in REFINEMENTS for program in PROGRAMS]
    measured: Measured = {key: {name: [] for name in CLAIMS} for key in keys}
    outcomes: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in keys}
    with tempfile.TemporaryDirectory(prefix="prdp-benchmark-") as folder:
        caches = {(refinement, program): f"{folder}/{refinement}-{program}" for refinement, program in keys}
        for key in keys:
            _in_fresh_process(key, seed, caches[key])
        for repeat in range(repeats):
            for key in keys:
                cold, warm = (_in_fresh_process(key, seed, cache) for cache in ("", caches[key]))
                measured[key]["persistent cache off"].append(cold["first"]["seconds"])
                measured[key]["persistent cache warm"].append(warm["first"]["seconds"])
                per_epoch = statistics.median(run["loop_seconds"] for run in cold["again"]) / len(
                    cold["first"]["iterations"]
                )
                measured[key]["per epoch after compilation"].append(per_epoch)
                outcomes[key] += [cold["first"], *cold["again"], warm["first"], *warm["again"]]
            print(f"repeat {repeat + 1} of {repeats} done", file=sys.stderr)
    return measured, outcomes


def _in_fresh_process(key: tuple[str, str], seed: int, cache: str) -> dict[str, Any]:
    """What `_train` returns, in a process with the persistent compilation cache in folder `cache`, or off."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "PRDP_"))}
    environment["PRDP_EXPLORER_CACHE"] = cache
    if cache and key[1] != "package":
        environment |= {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    command = [sys.executable, __file__, "--seed", str(seed), "--child", *key]
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout)


def _train(refinement: str, program: str, seed: int) -> dict[str, Any]:
    """In the fresh process: train `1 + AGAIN` times; the first run apart, since it compiles."""
    from prdp_explorer.problems import problem_named

    problem = problem_named("heat-1d", "paper")
    data = problem.data()
    if program == "package":
        with mock.patch.object(problem, "data", return_value=data):
            first, *again = (_train_package(refinement, seed) for _ in range(1 + AGAIN))
    else:
        from heat_1d_in_reference_manner import Program

        manner = Program(tightened=program == "tightened")
        first, *again = (
            asdict(manner.train(*data, seed=seed, progressive=refinement == "prdp")) for _ in range(1 + AGAIN)
        )
    return {"first": first, "again": again}


def _train_package(refinement: str, seed: int) -> dict[str, Any]:
    from prdp_explorer import Constant, train

    began = time.perf_counter()
    records = train("heat-1d", Constant() if refinement == "constant" else None, preset="paper", seed=seed)
    loop_began = time.perf_counter()
    run = list(records)
    ended = time.perf_counter()
    return {
        "iterations": [record.iterations for record in run],
        "validation": [records.initial_validation, *(record.validation for record in run)],
        "seconds": ended - began,
        "loop_seconds": ended - loop_began,
    }


def _print_table(
    title: str,
    medians: Mapping[tuple[str, str], Mapping[str, float]],
    refinement: str,
    claims: Mapping[str, float],
) -> None:
    print(f"{title:46}{'package':>10}{'reference':>11}{'ratio':>8}{'tightened':>11}{'ratio':>8}")
    for name in CLAIMS:
        package, reference, tightened = (medians[refinement, program][name] for program in PROGRAMS)
        verdict = ""
        if name in claims:
            verdict = f"   claim: {claims[name]}x, {'met' if reference >= claims[name] * package else 'NOT MET'}"
        print(
            f"  {name:44}{package:10.5f}{reference:11.5f}{reference / package:7.1f}x"
            f"{tightened:11.5f}{tightened / package:7.1f}x{verdict}"
        )
    print()


def _print_agreement(refinement: str, outcomes: Mapping[tuple[str, str], list[dict[str, Any]]]) -> bool:
    """Say whether all runs of all programs did the same, and return it."""
    runs = [outcome for program in PROGRAMS for outcome in outcomes[refinement, program]]
    schedules = {tuple(run["iterations"]) for run in runs}
    errors = [run["validation"][-1] for run in runs]
    same, apart = len(schedules) == 1, max(errors) / min(errors) - 1
    agree = same and apart <= AGREEMENT
    print(
        f"{refinement}: {'the same K in every epoch' if same else 'DIFFERENT K'} in all {len(runs)} runs "
        f"({sum(runs[0]['iterations'])} iterations in the first), final errors within {apart:.2e} "
        f"of each other: {'they agree' if agree else 'THEY DO NOT AGREE'}"
    )
    return agree


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
