#!/usr/bin/env python3
"""Is what a real cluster did a behaviour of the specification?

    tla/validate.py DIRECTORY [--partition TOPIC-N] [--alter LINE]

DIRECTORY holds the traces of every node of a cluster (the key trace.dir), from the partition's creation on. Rust
turns what the active controllers did about the partition and the brokers into lines that name their action
(model/examples/behaviour); these become a TLA+ module, and TLC looks whether TraceController.tla has them as a behaviour.
Prints how many lines are validated and which actions of the specification they cover. A line that is no step of
the specification is printed, and the exit code is 1. With --alter one field of a line is changed beforehand:
exactly that line must be rejected.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

import tlc

CHUNK = 200

CFG = """SPECIFICATION TraceSpec
CONSTANTS
    MinIsr <- TraceMinIsr
    Unclean <- TraceUnclean
    Mutation = "none"
    Brokers <- TraceBrokers
    InitialReplicas = 0
    InitialIsr = {}
    MinIsrs = {}
    Targets = {}
    Budget = 0
INVARIANTS LatestIsSound BrokerEpochsAreUnique Unfinished
PROPERTIES CommittedStands ElrIsKept ReassignmentsKeepMinIsr CancellationsKeepMinIsr
CHECK_DEADLOCK FALSE
"""

# Actions of Controller.tla by the lines that show them; the others are not seen from a controller.
SHOWN_BY = {
    "Start": ["Start", "Crash"], "Gone": ["Crash"], "Register": ["Register"], "Unregister": ["Unregister"],
    "Unfence": ["Unfence"], "Fence": ["Fence"], "WantStop": ["WantStop"], "BeginShutdown": ["BeginShutdown"],
    "FinishShutdown": ["FinishShutdown", "Exit"], "Ask": ["AskToJoin", "AskToLeave"], "Decide": ["Decide"],
    "Reject": ["Refuse"], "Reassign": ["Reassign"], "Cancel": ["Cancel"], "Balance": ["Balance"], "SetMinIsr": ["SetMinIsr"],
    "Commit": ["Commit"], "FailOver": ["FailOver"], "Replay": ["Replay"],
}


def behaviour(directory, partition):
    command = ["cargo", "run", "-q", "--release", "-p", "kraft-model", "--features", "check", "--example", "behaviour",
               "--", str(directory.resolve()), *([partition] if partition else [])]
    done = subprocess.run(command, cwd=tlc.ROOT, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit("the traces say nothing of such a partition")
    lines = done.stdout.splitlines()
    constants = [line for line in lines if not line.startswith("[")]
    return constants, [line for line in lines if line.startswith("[")]


def alter(lines, number):
    """Another number in the first epoch, offset or incarnation of a line."""
    changed, found = re.subn(r"(Epoch|epoch|upTo|kept|incarnation) \|-> (-?\d+)",
                             lambda m: f"{m.group(1)} |-> {int(m.group(2)) + 1}", lines[number - 1], count=1)
    if not found:
        raise SystemExit(f"line {number} has no number to change: {lines[number - 1]}")
    return [*lines[:number - 1], changed, *lines[number:]]


def module(constants, lines):
    """200 records a definition: TLC's parser does not like long ones."""
    text = ["------------------------------ MODULE TraceData ------------------------------",
            "EXTENDS Integers, Sequences, TLC"]
    text += [f"Trace{constant}" for constant in constants]
    chunks = [lines[at:at + CHUNK] for at in range(0, len(lines), CHUNK)]
    for number, chunk in enumerate(chunks):
        text += [f"Part{number} == <<", ",\n".join(chunk), ">>"]
    text += ["TraceLog == " + " \\o ".join(f"Part{number}" for number in range(len(chunks)))]
    text += ["=" * 78]
    return "\n".join(text) + "\n"


def action(line):
    return re.match(r'\[action \|-> "(\w+)"', line).group(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--partition", help="TOPIC-N; otherwise the first that was created")
    parser.add_argument("--alter", type=int, metavar="LINE", help="change a field of this line first")
    asked = parser.parse_args()
    constants, lines = behaviour(asked.directory, asked.partition)
    if not lines:
        raise SystemExit("nothing happened to the partition")
    if asked.alter:
        lines = alter(lines, asked.alter)
    with tempfile.TemporaryDirectory(prefix="tla-") as directory:
        directory = pathlib.Path(directory)
        (directory / "TraceData.tla").write_text(module(constants, lines))
        (directory / "Trace.cfg").write_text(CFG)
        (directory / "TraceController.tla").write_text((tlc.TLA / "TraceController.tla").read_text())
        result = tlc.run("TraceController.tla", directory / "Trace.cfg", directory=directory)
    sys.exit(report(result, lines))


def report(result, lines):
    if result.violated == "Unfinished":
        shown = collections.Counter(action(line) for line in lines)
        covered = {name for line in shown for name in SHOWN_BY[line]}
        missing = sorted({name for names in SHOWN_BY.values() for name in names} - covered)
        print(f"accepted: {len(lines)} lines are a behaviour of Controller.tla [{result.cpu:.0f} s CPU]")
        print("  " + ", ".join(f"{name} {count}" for name, count in sorted(shown.items())))
        print(f"  not covered: {', '.join(missing) or 'nothing'}")
        return 0
    if result.error:
        print(result.error)
        return 2
    at = result.trace if result.violated else result.depth
    why = f"{result.violated} does not hold after line {at - 1}" if result.violated else f"line {at} is no step"
    print(f"rejected: {why} [{result.cpu:.0f} s CPU]")
    print("  " + lines[min(at, len(lines)) - 1])
    return 1


if __name__ == "__main__":
    main()
