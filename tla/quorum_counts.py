#!/usr/bin/env python3
"""Counts the states of the abstract quorum twice, in TLA+ and in Rust: they must be equally many.

    tla/quorum_counts.py [CFG...] [--diff]

Each cfg file (default: all `MCQuorumAbstract-count-*.cfg`) gives the bounds of both sides. TLC enumerates
QuorumAbstract.tla, which is written from the rules; the Rust model drives the machines that the node runs. What
a state of the one is in the other is written down field by field: in `Projection` and `State::line`
(model/src/check/quorum_abstract/state.rs), and in `line` here. With --diff the states themselves are compared,
which takes memory.

The ratio compares distinct states per CPU-second, one worker each, every invariant checked by both; what TLC
takes for a specification of few states is subtracted.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import tlc
import values


def line(state):
    """A state of QuorumAbstract.tla as `State::line` writes it."""

    def bits(ids):
        return format(sum(1 << (v - 1) for v in ids), "03b")

    def log(records):
        return "".join(f"<{epoch},{number}>" for epoch, number in records)

    parts = []
    for n in state["node"]:
        fetched = "true" if n["fetched"] else "false"
        parts.append(
            f"{n['role']} {n['epoch']} {n['vote']} {n['leader']} {fetched} {bits(n['granted'])}"
            f" {bits(n['refused'])} {n['hw']} {list(n['ends'])} {log(n['log'])}"
        )
    led = [sum(1 << (v - 1) for e, v in state["led"] if e == epoch) for epoch in range(6)]
    parts.append(f"{state['proposed']} {led} {log(state['committed'])}")
    return "; ".join(parts)


def rust(constants, *options):
    """What the example `states` prints, and its CPU-seconds."""
    example = tlc.ROOT / "target/release/examples/states"
    bounds = [constants["MaxEpoch"], constants["MaxRecords"]]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([example, "quorum-abstract", *bounds, *options], text=True, check=True,
                          stdout=subprocess.PIPE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def specified(config, *options):
    run = tlc.run("MCQuorumAbstract", config.resolve(), "-deadlock", *options)
    if not run.holds:
        sys.exit(f"{config.name}: {run.violated or run.error}")
    return run


def compare(config):
    """State by state; the first ones that only one side has are printed."""
    with tempfile.TemporaryDirectory() as scratch:
        dump = Path(scratch) / "states.dump"
        specified(config, "-dump", dump)
        with dump.open() as lines:
            spec = {line(state) for state in values.states(lines)}
    machine = set(rust(tlc.constants(config), "--dump")[0].splitlines())
    print(f"{config.stem}: {len(spec)} states in TLA+, {len(machine)} in Rust,"
          f" {'the same ones' if spec == machine else 'NOT the same ones'}")
    for side, only in (("TLA+", spec - machine), ("Rust", machine - spec)):
        for text in sorted(only, key=len)[:5]:
            print(f"  only in {side}: {text}")
    return spec == machine


def count(config, start):
    spec = specified(config)
    output, seconds = rust(tlc.constants(config))
    counted = int(output.split()[0])
    slow, fast = spec.distinct / max(spec.cpu - start, 0.01), counted / max(seconds, 0.001)
    equal = spec.distinct == counted
    print(f"{config.stem}: {spec.distinct:,} states in TLA+, {counted:,} in Rust{'' if equal else ': NOT equally many'}\n"
          f"  TLC {spec.cpu:.1f} CPU-s less {start:.1f} to start: {slow:,.0f} distinct/s;"
          f" Rust {seconds:.2f} CPU-s: {fast:,.0f} distinct/s; ratio {fast / slow:.1f}", flush=True)
    return equal


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("cfg", nargs="*", type=Path)
    arguments.add_argument("--diff", action="store_true", help="compare the sets state by state")
    asked = arguments.parse_args()
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "-p", "kraft-model", "--features", "check",
         "--example", "states"],
        cwd=tlc.ROOT, check=True,
    )
    configs = asked.cfg or sorted(tlc.TLA.glob("MCQuorumAbstract-count-*.cfg"))
    if asked.diff:
        equal = [compare(config) for config in configs]
    else:
        start = specified(tlc.TLA / "MCQuorumAbstract-0epochs.cfg").cpu
        equal = [count(config, start) for config in configs]
    sys.exit(0 if all(equal) else 1)


if __name__ == "__main__":
    main()
