#!/usr/bin/env python3
"""Holds what the replicas of a real partition did against the specification.

    tla/validate_replica.py DIRECTORY... [--partition TOPIC-N]   traces of a cluster each, as trace.dir collects them
    tla/validate_replica.py DIRECTORY --alter N                  a number of line N falsified: TLC must reject that line

The traces become a module of lines (model/examples/replica_trace); ReplicaTrace.tla takes one after the other
and makes of each replica's state and each event what Replication.tla, the specification, makes of it. A line fits
if that is what the replica became and said. There is one state for each line that fits, so that TLC's count says how
far the trace is a behaviour of the specification. Prints how many, which actions of the specification occurred, and which
did not in any of the traces.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys

import tlc

WORK = tlc.CACHE / "replica-trace"


def generate(directory, partition):
    command = ["cargo", "run", "-q", "--release", "-p", "kraft-model", "--features", "check", "--example", "replica_trace",
               "--", str(directory.resolve()), *([partition] if partition else [])]
    return subprocess.run(command, cwd=tlc.ROOT, text=True, stdout=subprocess.PIPE, check=True).stdout


def lines_of(module):
    return re.findall(r"^  (\[(?!partition).*?\]),?$", module[module.index("Part0 =="):], re.M)


def altered(module, number):
    """The module with the high watermark after line `number` (from 1) one higher than it was."""
    at = module.index("Part0 ==")
    starts = [match.start() for match in re.finditer(r"^  \[(?!partition)", module[at:], re.M)]
    line = lines_of(module)[number - 1]
    wrong, found = re.subn(r"(after \|-> \[.*hw \|-> )(-?\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}", line)
    if found != 1:
        raise SystemExit(f"line {number} has no number to change: {line}")
    at += starts[number - 1]
    return module[:at] + module[at:].replace(line, wrong, 1)


def number(name, text):
    found = re.search(rf"\b{name} \|-> (-?\d+)", text)
    return int(found[1]) if found else None


class Coverage:
    """Actions of Replication.tla by what a line says, and how it differs from the line of this replica before.

    LoseFetch is none of them: a broker whose link broke tells its positions anew without a word to its machines."""

    NAMES = ["Replay: leads", "Replay: follows", "Replay: nobody leads", "Replay: another ISR", "Replay: other registrations",
             "Produce", "Produce, ISR too small", "acknowledged", "Serve: records", "Serve: diverging", "Serve: out of range",
             "Serve: refused", "Take: records", "Take: diverging", "Take: out of range", "Take: refused", "Take: too late",
             "Learn: granted", "Learn: ineligible", "Learn: outdated", "LoseAlter, or no controller", "RetryAlter",
             "Silent", "Flush", "Stop or Crash, then Restart", "Restart: log cut", "a follower cut its log",
             "Decide, Fence, Unfence: an image"]

    def __init__(self):
        self.seen = collections.Counter()
        self.last = {}

    def take(self, line):
        event = re.search(r'event \|-> "(\w+)"', line)[1]
        if event == "Committed":
            self.seen["Decide, Fence, Unfence: an image"] += 1
            return
        node = number("node", line)
        now = re.search(r"after \|-> \[(.*?), node", line) or re.search(r"after \|-> \[(.*)", line)
        now = re.search(r"after \|-> (\[.*?waiting \|-> \{[^}]*\}\])", line)[1]
        before = self.last.get(node)
        self.last[node] = now
        for name in self.names(event, node, line, now, before):
            self.seen[name] += 1

    def names(self, event, node, line, now, before):
        rest = line.replace(now, "")
        kind = re.search(r'answer \|-> \[.*?kind \|-> "([\w-]+)"', rest)
        kind = kind[1].replace("-", " ") if kind else None
        cut = before is not None and number("end", self.plain(now)) < number("end", self.plain(before))
        if not re.search(r"acked \|-> \{\}", rest) and "acked" in rest:
            yield "acknowledged"
        if event == "Began" and before is not None:
            yield "Stop or Crash, then Restart"
            if cut:
                yield "Restart: log cut"
        elif cut:
            yield "a follower cut its log"
        if event == "View":
            leader, epoch = number("leader", self.plain(now)), number("leaderEpoch", self.plain(now))
            was = (None, None) if before is None else (number("leader", self.plain(before)), number("leaderEpoch", self.plain(before)))
            if (leader, epoch) != was:
                yield "Replay: leads" if leader == node else "Replay: follows" if leader else "Replay: nobody leads"
            elif leader == node:
                same = re.search(r"isr \|-> \{[^}]*\}", now)[0] == re.search(r"isr \|-> \{[^}]*\}", before)[0]
                yield "Replay: other registrations" if same else "Replay: another ISR"
        elif event == "Append":
            yield "Produce, ISR too small" if "NOT_ENOUGH_REPLICAS" in rest else "Produce"
        elif event == "Fetch":
            yield f"Serve: {kind}"
        elif event == "Fetched":
            changed = self.plain(now) != self.plain(before) or kind == "refused" or re.search(r"records \|-> <<>>", rest)
            yield f"Take: {kind}" if changed else "Take: too late"
        elif event == "Altered":
            error = re.search(r'error \|-> "(.*?)"', rest)[1]
            yield {"": "Learn: granted", "INELIGIBLE_REPLICA": "Learn: ineligible", "none came": "LoseAlter, or no controller",
                   "NOT_CONTROLLER": "LoseAlter, or no controller"}.get(error, "Learn: outdated")
        elif event == "AlterRetry":
            yield "RetryAlter"
        elif event == "Silent" and now != before:
            yield "Silent"
        elif event == "Flushed":
            yield "Flush"

    @staticmethod
    def plain(state):
        """Without what is known of others and asked of the controller, which have fields of the same names."""
        state = re.sub(r"progress \|-> <<.*?>>", "", state)
        return re.sub(r"proposal \|-> \[.*?\](?=, waiting)", "", state)


def validate(directory, asked, coverage):
    """Whether all lines fit; with --alter, whether it is the altered line that does not."""
    module = generate(directory, asked.partition)
    lines = lines_of(module)
    if asked.alter:
        module = altered(module, asked.alter)
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "ReplicaTraceLog.tla").write_text(module)
    for name in ("ReplicaTrace.tla", "Replication.tla", "Partition.tla"):
        (WORK / name).write_text((tlc.TLA / name).read_text())
    found = tlc.run("ReplicaTrace.tla", tlc.TLA / "ReplicaTrace.cfg", directory=WORK)
    if found.error:
        sys.exit(found.error)
    if found.violated:
        sys.exit(f"{directory}: {found.violated} is violated after line {found.trace - 1}:\n"
                 f"  {lines[max(found.trace - 2, 0)]}")
    if found.distinct == len(lines) + 1:
        print(f"{directory}: all {len(lines)} lines fit Replication.tla, {found.cpu:.0f} s of CPU")
        coverage.last.clear()
        for line in lines:
            coverage.take(line)
        return not asked.alter
    print(f"{directory}: line {found.distinct} of {len(lines)} does not fit:\n  {lines_of(module)[found.distinct - 1]}")
    return asked.alter == found.distinct


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directories", type=pathlib.Path, nargs="+", metavar="DIRECTORY")
    parser.add_argument("--partition", help="TOPIC-N; otherwise the first that was placed anywhere")
    parser.add_argument("--alter", type=int, metavar="N")
    asked = parser.parse_args()
    coverage = Coverage()
    if not all([validate(directory, asked, coverage) for directory in asked.directories]):
        sys.exit(1)
    seen = [f"{name} {coverage.seen[name]}" for name in Coverage.NAMES if coverage.seen[name]]
    print("  " + ", ".join(seen))
    print("  not in these traces: " + (", ".join(n for n in Coverage.NAMES if not coverage.seen[n]) or "nothing"))


if __name__ == "__main__":
    main()
