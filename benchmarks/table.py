"""PRDP against full physics over several seeds, scenario by scenario, beside what was published.

    python benchmarks/table.py                              # every live preset, 5 seeds (about 7 minutes on 2 cores)
    python benchmarks/table.py heat-1d/paper heat-2d/paper --seeds 3

Each scenario runs in a process of its own, with nothing compiled before. For each seed PRDP and full physics train one
after the other, taking turns in who is first. Seconds are medians over the seeds, of training alone; what was set up
and compiled, once for both, stands apart. *Saved with compilation* counts compilation to each of the two runs, as if
each had been alone.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

PUBLISHED = {
    "heat-1d": (2500, 520, 10, "3.25 → 3.1", "5%"),
    "heat-2d": (3000, 430, 12, "2.8 → 2.15", "23%"),
    "heat-3d": (2900, 580, 11, "55 → 12", "78%"),
    "burgers-1d": (2400, 930, 16, "29 → 26.5", "9%"),
    "navier-stokes-2d": (4000, 760, 14, "131 → 57", "56%"),
}
"""Iterations of full physics and of PRDP, PRDP's last K and seconds on a GPU, read off the poster."""

SCENARIOS = ("poisson-1", "poisson-3", "heat-1d", "heat-2d", "heat-3d", "burgers-1d", "navier-stokes-2d")

HEAD = (
    "scenario",
    "iterations full → PRDP",
    "saved",
    "last K",
    "final error full → PRDP",
    "ratio of errors",
    "seconds of training full → PRDP",
    "saved",
    "saved with compilation",
    "set up + compile, s",
    "both runs in all, s",
    "memory, GiB",
)


def measure(scenario: str, preset: str, seeds: list[int]) -> dict:
    """Train both over the seeds, in this process."""
    from prdp_explorer import Constant, train

    began = time.perf_counter()
    runs = {"full": [], "PRDP": []}
    setup = compiling = both = 0.0
    for seed in seeds:
        order = [("PRDP", None), ("full", Constant())]
        for label, controller in order if seed % 2 else order[::-1]:
            training = train(scenario, controller, preset=preset, seed=seed)
            records = list(training)
            runs[label].append(
                {
                    "seed": seed,
                    "iterations": records[-1].cumulative_iterations,
                    "last": records[-1].iterations,
                    "error": records[-1].validation,
                    "seconds": training.seconds["train"],
                    "compilations": training.compilations,
                    "status": training.status,
                }
            )
            if training.compilations:
                setup, compiling = training.seconds["setup"], training.seconds["compile"]
        both = both or time.perf_counter() - began
    return {
        "scenario": scenario,
        "preset": preset,
        "runs": runs,
        "setup": setup,
        "compile": compiling,
        "both": both,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def row(result: dict) -> list[str]:
    """One line of the table."""

    def median(label: str, name: str) -> float:
        return statistics.median(run[name] for run in result["runs"][label])

    full, prdp = median("full", "iterations"), median("PRDP", "iterations")
    pairs = list(zip(result["runs"]["full"], result["runs"]["PRDP"], strict=True))
    errors = statistics.median(b["error"] / a["error"] for a, b in pairs)
    seconds = statistics.median(b["seconds"] / a["seconds"] for a, b in pairs)
    compiling = result["compile"]
    compiled = statistics.median((b["seconds"] + compiling) / (a["seconds"] + compiling) for a, b in pairs)
    return [
        f"{result['scenario']}, {result['preset']}",
        f"{full:,.0f} → {prdp:,.0f}",
        f"{1 - prdp / full:.0%}",
        f"{median('PRDP', 'last'):.0f}",
        f"{median('full', 'error'):.3g} → {median('PRDP', 'error'):.3g}",
        f"{errors:.2f}",
        f"{median('full', 'seconds'):.3g} → {median('PRDP', 'seconds'):.3g}",
        f"{1 - seconds:.0%}",
        f"{1 - compiled:.0%}",
        f"{result['setup'] + compiling:.1f}",
        f"{result['both']:.1f}",
        f"{result['memory']:.1f}",
    ]


def published(scenario: str) -> list[str] | None:
    """The published line to stand below."""
    if scenario not in PUBLISHED:
        return None
    full, prdp, last, seconds, saved = PUBLISHED[scenario]
    iterations = [f"{full:,} → {prdp:,}", f"{1 - prdp / full:.0%}", f"{last}"]
    return ["published", *iterations, "", "", seconds, saved, *[""] * (len(HEAD) - 8)]


def markdown(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="SCENARIO[/PRESET]", help="default: every live preset")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N - 1; default 5")
    parser.add_argument("--json", metavar="FILE", help="write everything measured there")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = [name if "/" in name else f"{name}/live" for name in options.names or SCENARIOS]
    if options.child:
        scenario, preset = names[0].split("/")
        print(json.dumps(measure(scenario, preset, list(range(options.seeds)))))
        return 0
    print(markdown(list(HEAD)))
    print(markdown(["---"] * len(HEAD)))
    results = []
    for name in names:
        child = [sys.executable, __file__, name, "--seeds", str(options.seeds), "--child"]
        environment = {**os.environ, "PRDP_EXPLORER_CACHE": ""}
        done = subprocess.run(child, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name} failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            return 1
        results.append(json.loads(done.stdout))
        print(markdown(row(results[-1])), flush=True)
        beside = published(results[-1]["scenario"])
        if beside:
            print(markdown(beside), flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
