#!/usr/bin/env python3
"""What recording a trace (trace.dir) costs: the same load with and without, alternating.

    tests/bench/trace_cost.py [--pairs 5] [--sizes 100,1024,16384] [--bytes 400000000]

Each half of a pair is a fresh cluster of three nodes that are controller and broker at once, warmed up, which takes
`--bytes` of values (acks=all, replication 3, three partitions) from `kraft bench produce`. Prints for each size the
throughput of both, the cost in percent of each pair, and the median of the costs.

Build first: cargo build --release -p kraft. Environment: KRAFT (the binary).
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
KRAFT = pathlib.Path(os.environ.get("KRAFT", ROOT / "target/release/kraft")).resolve()


def kraft(*arguments):
    done = subprocess.run([str(KRAFT), *map(str, arguments)], capture_output=True, timeout=300)
    if done.returncode != 0:
        raise SystemExit(f"kraft {arguments[:2]} failed: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout


def measure(size, options, is_traced):
    """Megabytes of values a second."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="kraft-trace-cost-"))
    try:
        traced = ["--set", f"trace.dir={directory / 'traces'}"] if is_traced else []
        kraft("up", "--combined", "3", "--detach", "--dir", directory / "cluster", *traced)
        status = json.loads(kraft("status", "--dir", directory / "cluster", "--output", "json"))
        records = max(options.bytes // size, 1)
        for count in (records // 4, records):
            answer = kraft("bench", "produce", "cost", "--partitions", 3, "--replication-factor", 3, "--size", size,
                           "--records", count, "--bootstrap-server", status["bootstrap"])
        return json.loads(answer)["megabytes_per_second"]
    finally:
        subprocess.run([str(KRAFT), "down", "--dir", str(directory / "cluster")], stdout=subprocess.DEVNULL, check=False)
        shutil.rmtree(directory, ignore_errors=True)
        os.sync()  # what one half left to be written would be the other half's to pay


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--sizes", default="100,1024,16384")
    parser.add_argument("--bytes", type=int, default=400_000_000)
    options = parser.parse_args()
    result = {}
    for size in map(int, options.sizes.split(",")):
        pairs = []
        for number in range(options.pairs):
            # Who comes first alternates: the second finds the machine warmer.
            order = (True, False) if number % 2 else (False, True)
            speed = {is_traced: measure(size, options, is_traced) for is_traced in order}
            pairs.append({"plain_mb_per_s": speed[False], "traced_mb_per_s": speed[True],
                          "cost_percent": round(100 * (1 - speed[True] / speed[False]), 1)})
            print(f"{size} bytes: {json.dumps(pairs[-1])}", file=sys.stderr, flush=True)
        result[size] = {"pairs": pairs, "median_cost_percent": statistics.median(pair["cost_percent"] for pair in pairs)}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
