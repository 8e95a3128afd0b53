#!/usr/bin/env python3
"""Holds what the voters of a real quorum did against the specification.

    tla/validate_quorum.py DIRECTORY           traces of one cluster, as trace.dir collects them
    tla/validate_quorum.py DIRECTORY --alter N one field of line N falsified: TLC must reject that line
    ... --field hw|voters|answers              which: the high watermark, who votes, how a voter change ended
    ... --list EVENT                           the numbers of the lines of that event; nothing is checked

The traces become a module of lines (model/examples/quorum_trace); QuorumTrace.tla takes one after the other
and makes of each node's state and each event what QuorumNode.tla, the specification, makes of it. A line fits if
that is what the machine became and said. Each line that fits is one step further, so the depth of TLC's search says
how far the trace is a behaviour of the specification. Prints how many lines, which actions of the specification
occurred, and which did not.
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
    "ResignAsLeader": r'event \|-> "Resign".*role \|-> "Resigned"',
    "Propose": r'event \|-> "Propose"',
    "FlushLog": r'event \|-> "Flushed"',
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
    "Fetch of another epoch": r'outcome \|-> "Fenced"',
    "Fetch sent to a snapshot": r'outcome \|-> "Snapshot"',
    "TakeSnapshot": r'event \|-> "SnapshotWritten"',
    "FetchSnapshot": r'message \|-> \[kind \|-> "FetchSnapshot"',
    "snapshot installed": r'event \|-> "SnapshotInstalled"',
    "AddVoter": r'event \|-> "AddVoter"',
    "RemoveVoter": r'event \|-> "RemoveVoter"',
    "a change is committed": r'answers \|-> \{<<\d+, "">>',
    "a change is refused or fails": r'answers \|-> \{<<\d+, "\w',
    "a removed leader leaves": r'kind \|-> "End".*answers.*after \|-> .*role \|-> "Unattached"',
}

# And by how it differs from the line of this node before.
CHANGES = ["Crash, then Restarted", "Wipe", "AskForLeader", "an observer follows", "becomes a voter", "is a voter no longer",
           "a follower cut its log", "leads"]

FALSIFIED = {
    "hw": (r"(after \|-> .*hw \|-> )(\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}"),
    "voters": (r"(after \|-> .*voters \|-> \{<<\d+, )(\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}"),
    "answers": (r"answers \|-> \{(.*?)\}", lambda m: "answers |-> " + ("{}" if m[1] else '{<<1, "">>}')),
}


def generate(directory):
    command = ["cargo", "run", "-q", "--release", "-p", "kraft-model", "--features", "check", "--example", "quorum_trace", "--",
               str(directory.resolve())]
    return subprocess.run(command, cwd=tlc.ROOT, text=True, stdout=subprocess.PIPE, check=True).stdout


def lines_of(module):
    return re.findall(r"^  (\[node \|-> .*?\]),?$", module, re.M)


def altered(module, number, field):
    """The module with a field of line `number` (from 1) other than it was."""
    line = lines_of(module)[number - 1]
    pattern, falsify = FALSIFIED[field]
    wrong, found = re.subn(pattern, falsify, line, count=1)
    if not found:
        raise SystemExit(f"line {number} has no {field} to change: {line}")
    at = [match.start() for match in re.finditer(r"^  \[node \|-> ", module, re.M)][number - 1]
    return module[:at] + module[at:].replace(line, wrong, 1)


def after(line, field):
    return re.search(rf"after \|-> .*\b{field} \|-> (.*?)(?:, \w+ \|-> |\]\]$)", line)[1].strip('"')


def differs(line, before):
    """Which of CHANGES this line is."""
    node = re.search(r"node \|-> (\d+)", line)[1]
    votes = f"<<{node}, " in after(line, "voters")
    asks = re.search(r'out \|-> \{.*?kind \|-> "Fetch", .*answers', line)
    if asks and after(line, "role") == "Unattached":
        yield "AskForLeader"
    if before is None:
        return
    voted = f"<<{node}, " in after(before, "voters")
    role, was = after(line, "role"), after(before, "role")
    if 'event |-> "Began"' in line:
        yield "Crash, then Restarted"
        if int(after(line, "end")) == 0 < int(after(before, "end")):
            yield "Wipe"
    elif int(after(line, "end")) < int(after(before, "end")):
        yield "a follower cut its log"
    if votes != voted:
        yield "becomes a voter" if votes else "is a voter no longer"
    if role != was and role == "Follower" and not votes:
        yield "an observer follows"
    if role != was and role == "Leader":
        yield "leads"


def coverage(lines):
    seen = collections.Counter()
    last = {}
    for line in lines:
        seen.update(name for name, pattern in ACTIONS.items() if re.search(pattern, line))
        node = re.search(r"node \|-> (\d+)", line)[1]
        seen.update(differs(line, last.get(node)))
        last[node] = line
    return {name: seen[name] for name in [*ACTIONS, *CHANGES]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--alter", type=int, metavar="N")
    parser.add_argument("--field", choices=FALSIFIED, default="hw")
    parser.add_argument("--list", metavar="EVENT")
    asked = parser.parse_args()
    module = generate(asked.directory)
    lines = lines_of(module)
    if asked.list:
        print(*[number for number, line in enumerate(lines, 1) if f'event |-> "{asked.list}"' in line])
        return
    if asked.alter:
        module = altered(module, asked.alter, asked.field)
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "QuorumTraceLog.tla").write_text(module)
    for name in ("QuorumTrace.tla", "QuorumPromises.tla", "QuorumNode.tla"):
        (WORK / name).write_text((tlc.TLA / name).read_text())
    found = tlc.run("QuorumTrace.tla", tlc.TLA / "QuorumTrace.cfg", directory=WORK)
    if found.error:
        sys.exit(found.error)
    if found.violated:
        sys.exit(f"{asked.directory}: {found.violated} is violated at line {found.trace - 1}")
    if found.depth == len(lines) + 1:
        print(f"{asked.directory}: all {len(lines)} lines fit, {found.cpu:.0f} s of CPU")
        seen = coverage(lines)
        print("  " + ", ".join(f"{name} {times}" for name, times in seen.items() if times))
        print("  not in these traces: " + (", ".join(name for name, times in seen.items() if not times) or "nothing"))
        sys.exit(1 if asked.alter else 0)
    print(f"{asked.directory}: line {found.depth} of {len(lines)} does not fit:\n  {lines_of(module)[found.depth - 1]}")
    sys.exit(0 if asked.alter == found.depth else 1)


if __name__ == "__main__":
    main()
