#!/usr/bin/env python3
"""The Rust model's states, seen as the specification's, must be the specification's: counts both and compares.

    tla/counts.py [CFG...] [--diff] [--speed] [--record]

Each cfg file (default: all `MCReplication-count-*.cfg`) gives the bounds of both sides. Rust visits every state
of the `replica` model within them and counts the different projections (model/src/check/replica/projection.rs); TLC
counts the distinct states of Replication.tla. The counts and the depths must be equal. With --diff both sets
are written out and compared state by state; that takes memory, so use it on small configurations.

--speed says how many of these states each side gets through in a second of CPU time: Rust with every property of the
model checked, one thread, as `kraft check` does it; TLC with every invariant and property, one worker, less what
it takes to start. The numerator is the same for both: the states of the specification, though Rust visits more.
"""

import argparse
import pathlib
import re
import resource
import subprocess
import sys
import tempfile

import run
import tlc
import values

START = tlc.TLA / "MCReplication-no-step.cfg"
EXAMPLE = tlc.ROOT / "target/release/examples/count"


def build():
    command = ["cargo", "build", "-q", "--release", "-p", "kraft-model", "--features", "check", "--example", "count",
               "--target-dir", tlc.ROOT / "target"]
    subprocess.run([str(part) for part in command], cwd=tlc.ROOT, check=True)


def rust(constants, *options):
    """What the example prints and its CPU-seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([EXAMPLE, "replica", *[f"{name}={value}" for name, value in constants.items()], *options],
                          text=True, stdout=subprocess.PIPE, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def figures(output):
    return {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", output.rstrip().rpartition("\n")[2])}


def specified(config, *options):
    found = tlc.run("MCReplication.tla", config.resolve(), *options)
    if not found.holds:
        raise SystemExit(f"{config.name}: {found.violated or found.error}")
    return found


def canonical(value):
    """Sequences and functions from 1 on are the same in TLA+; so are empty ones."""
    if isinstance(value, dict):
        return frozenset((key, canonical(item)) for key, item in value.items())
    if isinstance(value, tuple):
        return frozenset((at + 1, canonical(item)) for at, item in enumerate(value))
    if isinstance(value, frozenset):
        return ("set", frozenset(canonical(item) for item in value))
    return (type(value).__name__, value)


def read(lines):
    return {canonical(state): state for state in values.states(lines)}


def compare(config):
    """State by state; of the first that only one side has, what differs from the nearest of the other."""
    with tempfile.TemporaryDirectory(prefix="tla-") as scratch:
        dump = pathlib.Path(scratch) / "states.dump"
        specified(config, "-dump", dump)
        with dump.open() as lines:
            spec = read(lines)
    output, _ = rust(tlc.constants(config), "--dump")
    model = read(line + "\n" for line in output.splitlines()[:-1])
    same = spec.keys() == model.keys()
    print(f"{config.stem}: {len(spec)} states in TLA+, {len(model)} in Rust: {'the same' if same else 'NOT the same'}")
    for side, ours, theirs in (("TLA+", spec, model), ("Rust", model, spec)):
        for key in list(ours.keys() - theirs.keys())[:3]:
            state = ours[key]
            differs = lambda other: [name for name in state if canonical(state[name]) != canonical(other[name])]
            nearest = min(theirs.values(), key=lambda other: len(differs(other)))
            print(f"only in {side}, and the nearest of the other side:")
            for name in differs(nearest):
                print(f"  {name} = {state[name]}\n  {' ' * len(name)} # {nearest[name]}")
    return same


def count(config, speed, record):
    spec = specified(config)
    model = figures(rust(tlc.constants(config))[0])
    equal = (model["projections"], model["depth"]) == (spec.distinct, spec.depth)
    lines = [f"{config.stem}: {model['projections']} projections of {model['states']} states in Rust, depth"
             f" {model['depth']}; {spec.distinct} states in TLA+, depth {spec.depth}: {'equal' if equal else 'DIFFERENT'}"]
    if speed:
        start = specified(START).cpu
        _, seconds = rust(tlc.constants(config), "--check")
        slow, fast = spec.distinct / max(spec.cpu - start, 0.01), spec.distinct / max(seconds, 0.001)
        lines.append(f"  TLC {spec.cpu:.1f} s of CPU less {start:.1f} to start: {slow:,.0f} states/s; Rust {seconds:.2f} s"
                     f" of CPU: {fast:,.0f} states/s; ratio {fast / slow:.1f}")
    print("\n".join(lines), flush=True)
    if record and equal:
        run.RESULTS.mkdir(exist_ok=True)
        (run.RESULTS / f"{config.stem}.txt").write_text("\n".join([*lines, run.ORIGIN]) + "\n")
    return equal


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cfg", nargs="*", type=pathlib.Path)
    parser.add_argument("--diff", action="store_true", help="compare the sets state by state")
    parser.add_argument("--speed", action="store_true", help="say how fast both were")
    parser.add_argument("--record", action="store_true", help="keep the results")
    asked = parser.parse_args()
    build()
    configs = asked.cfg or sorted(tlc.TLA.glob("MCReplication-count-*.cfg"))
    if asked.diff:
        equal = [compare(config) for config in configs]
    else:
        equal = [count(config, asked.speed, asked.record) for config in configs]
    sys.exit(0 if all(equal) else 1)


if __name__ == "__main__":
    main()
