#!/usr/bin/env python3
"""How fast `kraft check` is, and how much memory a state takes.

    tests/bench/checker.py [--runs 3] [MODEL ...]

Each model (default: replica, replica-flush, quorum-wide, quorum) is explored on one thread. Prints for each the
distinct states in a second of CPU time, the median of the runs, and the bytes of memory for each state: what the
process held at most, less what it holds for a model of next to no states. `tla/counts.py --speed` compares with TLC.

Build first: cargo build --release -p kraft. Environment: KRAFT (the binary).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
KRAFT = pathlib.Path(os.environ.get("KRAFT", ROOT / "target/release/kraft")).resolve()
SMALL = "quorum-prevote"


def explore(model):
    """Distinct states, CPU-seconds, bytes at most."""
    command = [str(KRAFT), "check", model, "--threads", "1", "--output", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    answer = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"kraft check {model} failed")
    return json.loads(answer)[0]["unique"], used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["replica", "replica-flush", "quorum-wide", "quorum"])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    small, _, rest = explore(SMALL)
    result = {}
    for model in options.models:
        runs = [explore(model) for _ in range(options.runs)]
        states = runs[0][0]
        result[model] = {
            "states": states,
            "states_per_cpu_second": round(statistics.median(states / seconds for _, seconds, _ in runs)),
            "bytes_per_state": round(statistics.median((held - rest) / (states - small) for *_, held in runs), 1)
            if states > 50 * small else None,  # else the difference is noise
        }
        print(f"{model}: {json.dumps(result[model])}", file=sys.stderr, flush=True)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
