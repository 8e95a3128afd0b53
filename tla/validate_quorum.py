#!/usr/bin/env python3
"""Holds what the voters of a real quorum did against the specification.

    tla/validate_quorum.py DIRECTORY           traces of one cluster, as trace.dir collects them
    tla/validate_quorum.py DIRECTORY --alter N one field of line N falsified: TLC must reject that line

The traces become a module of lines (model/examples/quorum_trace.rs); QuorumTrace.tla takes one after the other
and makes of each node's state and each event what QuorumNode.tla, the specification, makes of it. A line fits if
that is what the machine became and said. TLC is asked whether the end is never reached; that this is violated
means that all lines fit. Prints how many, which actions of the specification occurred, and which did not.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys

import tlc

WORK = tlc.CACHE / "quorum-trace"

# What Quorum.tla lets happen, by what a line says of it.
ACTIONS = {
    "Timeout of an election": r'timer \|-> "Election"',
    "Timeout of a follower's leader": r'timer \|-> "Fetch"',
    "Q9 check of the quorum": r'timer \|-> "CheckQuorum"',
    "Announce": r'timer \|-> "Announce"',
    "PeerGone": r'event \|-> "PeerGone"',
    "ResignAsLeader": r'event \|-> "Resign"',
    "Propose": r'event \|-> "Propose"',
    "FlushLog": r'event \|-> "Flushed"',
    "Crash, then Restarted": None,
    "TakeSnapshot": r'event \|-> "SnapshotWritten"',
    "pre-vote granted": r'kind \|-> "VoteResponse".*?granted \|-> TRUE, preVote \|-> TRUE',
    "pre-vote refused": r'kind \|-> "VoteResponse".*?granted \|-> FALSE, preVote \|-> TRUE',
    "vote granted": r'kind \|-> "VoteResponse".*?granted \|-> TRUE, preVote \|-> FALSE',
    "vote refused": r'kind \|-> "VoteResponse".*?granted \|-> FALSE, preVote \|-> FALSE',
    "Begin": r'message \|-> \[kind \|-> "Begin"',
    "BeginResponse": r'message \|-> \[kind \|-> "BeginResponse"',
    "End": r'message \|-> \[kind \|-> "End"',
    "Fetch answered with records": r'outcome \|-> "Records"',
    "Fetch answered without news": r'event \|-> "HoldExpired"',
    "Fetch told to truncate": r'outcome \|-> "Diverging"',
    "Fetch refused": r'outcome \|-> "Refused"',
    "Fetch sent to a snapshot": r'outcome \|-> "Snapshot"',
    "FetchSnapshot": r'kind \|-> "FetchSnapshot"',
    "AddVoter": r'event \|-> "AddVoter"',
    "RemoveVoter": r'event \|-> "RemoveVoter"',
}


def generate(directory):
    command = ["cargo", "run", "-q", "--release", "-p", "kraft-model", "--features", "check", "--example", "quorum_trace", "--",
               str(directory.resolve())]
    return subprocess.run(command, cwd=tlc.ROOT, text=True, stdout=subprocess.PIPE, check=True).stdout


def lines_of(module):
    return re.findall(r"^  (\[node \|-> .*?\]),?$", module, re.M)


def altered(module, number):
    """The module with the high watermark after line `number` (from 1) one higher than it was."""
    line = lines_of(module)[number - 1]
    wrong, found = re.subn(r"hw \|-> (\d+), ends", lambda m: f"hw |-> {int(m[1]) + 1}, ends", line)
    assert found == 1, line
    at = [match.start() for match in re.finditer(r"^  \[node \|-> ", module, re.M)][number - 1]
    return module[:at] + module[at:].replace(line, wrong, 1)


def coverage(lines):
    seen = collections.Counter()
    began = collections.Counter(re.findall(r'node \|-> (\d+), entry \|-> \d+, event \|-> "Began"', "\n".join(lines)))
    for name, pattern in ACTIONS.items():
        if pattern is None:
            seen[name] = sum(times - 1 for times in began.values())
        else:
            seen[name] = sum(1 for line in lines if re.search(pattern, line))
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--alter", type=int, metavar="N")
    asked = parser.parse_args()
    module = generate(asked.directory)
    lines = lines_of(module)
    if asked.alter:
        module = altered(module, asked.alter)
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "QuorumTraceLog.tla").write_text(module)
    for name in ("QuorumTrace.tla", "QuorumPromises.tla", "QuorumNode.tla"):
        (WORK / name).write_text((tlc.TLA / name).read_text())
    found = tlc.run("QuorumTrace.tla", tlc.TLA / "QuorumTrace.cfg", directory=WORK)
    if found.error:
        sys.exit(found.error)
    if found.violated == "NotAccepted":
        print(f"{asked.directory}: all {len(lines)} lines fit, {found.cpu:.0f} s of CPU")
        seen = coverage(lines)
        print("  " + ", ".join(f"{name} {times}" for name, times in seen.items() if times))
        print("  not in these traces: " + (", ".join(name for name, times in seen.items() if not times) or "nothing"))
        sys.exit(1 if asked.alter else 0)
    if found.violated:
        sys.exit(f"{asked.directory}: {found.violated} is violated at line {found.trace - 1}")
    print(f"{asked.directory}: line {found.depth} of {len(lines)} does not fit:\n  {lines_of(module)[found.depth - 1]}")
    sys.exit(0 if asked.alter == found.depth else 1)


if __name__ == "__main__":
    main()
