#!/usr/bin/env python3
"""The Rust model's states, seen as the specification's, must be the specification's: counts both and compares.

    tla/counts.py [CFG...] [--diff]

Each cfg file (default: all `MCReplication-count-*.cfg`) gives the bounds of both sides. Rust visits every state
of the `replica` model within them and counts the different projections (model/src/check/replica/projection.rs); TLC
counts the distinct states of Replication.tla. The counts and the depths must be equal. With --diff both sets
are written out and compared state by state; that takes memory, so use it on small configurations.

Also prints how many of these states each of them visits in a second of CPU time: Rust with every property of the
model checked (`kraft check`'s search), TLC with one worker and every invariant, its start subtracted.
"""

import argparse
import pathlib
import re
import resource
import subprocess
import sys
import tempfile

import tlc


def rust(constants, *options):
    command = ["cargo", "run", "-q", "--release", "-p", "kraft-model", "--features", "check", "--example", "count",
               "--", "replica", *[f"{name}={value}" for name, value in constants.items()], *options]
    done = subprocess.run(command, cwd=tlc.ROOT, text=True, stdout=subprocess.PIPE, check=True)
    figures = dict(re.findall(r"(\w+) ([\d.]+)", done.stdout.rstrip().rpartition("\n")[2]))
    return figures, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cfg", nargs="*", type=pathlib.Path)
    parser.add_argument("--diff", action="store_true", help="compare the sets state by state")
    asked = parser.parse_args()
    configs = asked.cfg or sorted(tlc.TLA.glob("MCReplication-count-*.cfg"))
    failed = False
    for config in configs:
        figures, text = rust(tlc.constants(config), *(["--dump"] if asked.diff else []))
        dump = pathlib.Path(tempfile.mkdtemp(prefix="tla-")) / "states.dump"
        found = tlc.run("MCReplication.tla", config.resolve(), *(["-dump", dump] if asked.diff else []))
        if not found.holds:
            raise SystemExit(f"{config.name}: {found.violated or found.error}")
        equal = (int(figures["projections"]), int(figures["depth"])) == (found.distinct, found.depth)
        failed |= not equal
        print(f"{config.stem}: Rust {figures['projections']} (of {figures['states']} states), depth {figures['depth']}; "
              f"TLC {found.distinct}, depth {found.depth}: {'equal' if equal else 'DIFFERENT'}"
              f" [{float(figures['seconds']):.1f} s, {found.wall:.1f} s]", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
