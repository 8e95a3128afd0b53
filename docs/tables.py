#!/usr/bin/env python3
"""Writes docs/proof.md and the README's table of models: what the judges said, from their own reports.

    docs/tables.py --check FILE... --mutations FILE [--sim FILE] [--sim-mutations FILE] [--note TEXT]

The files are the JSON of `kraft check --report`, `kraft check --mutate all --report`, `kraft sim --report` and
`kraft sim --mutate all --report`; what TLC found is read from tla/results. With --compare nothing is written:
the exit code is 1 if docs/proof.md lacks a model or a mutation that was judged.
"""

import argparse
import datetime
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/proof.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- models -->", "<!-- end of models -->"
RESULTS = ROOT / "tla/results"

# Mutations that are bugs others had, or things that others' safety does not need. The rest were thought up from
# the rules, to see whether the judges miss what nobody told them of.
KNOWN = set("""
vote-before-durable skip-log-up-to-date compare-log-memberwise commit-old-epoch hw-at-epoch-start restart-as-leader
count-unflushed ack-own-end commit-on-nack truncate-then-append majority-is-half count-removed-leader
reconfigure-before-commit two-uncommitted-voter-sets voter-without-directory prevote-is-vote
prevote-under-live-leader snapshot-off-by-one fenced-joins-isr skip-partition-epoch hw-over-committed-isr
truncate-to-high-watermark hw-under-min-isr unclean-keeps-elr elect-dead-last-leader election-wipes-elr
elr-outside-replicas reassign-below-min-isr two-min-isrs unfence-at-once bump-on-shrink drop-check-quorum drop-prevote
drop-end-quorum new-epoch-same-process
""".split())


def commit():
    git = ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"


def row(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(header, rows):
    return "\n".join([row(header), row("---" for _ in header), *map(row, rows)])


def models(outcomes, with_bounds):
    header = ["model", "tier", "states", "depth", "s", "states/s", "verdict"]
    rows = []
    for it in outcomes:
        rate = it["unique"] / max(it["seconds"], 1e-3)
        rows.append([f"`{it['model']}`", it["tier"], f"{it['unique']:,}", it["depth"], f"{it['seconds']:.1f}",
                     f"{rate:,.0f}", it["verdict"], it["bounds"]])
    for tier in dict.fromkeys(it["tier"] for it in outcomes):
        chosen = [it for it in outcomes if it["tier"] == tier]
        states, seconds = sum(it["unique"] for it in chosen), sum(it["seconds"] for it in chosen)
        rows.append([f"all of {tier}", tier, f"{states:,}", "", f"{seconds:.0f}", "", "", ""])
    if with_bounds:
        return table([*header, "bounds"], rows)
    return table(header, [cells[:-1] for cells in rows])


def tlc_mutations():
    """name -> what TLC says, by the specification's name."""
    found = {}
    for path in sorted(RESULTS.glob("mutations-*.txt")):
        family = path.stem.removeprefix("mutations-")
        for line in path.read_text().splitlines()[1:]:
            cells = re.split(r"\s{2,}", line.strip())
            if len(cells) < 4:
                continue
            name, violated, states = cells[:3]
            steps = f", {cells[3]} steps" if len(cells) > 4 else ""
            said = "survives" if violated == "survives" else violated
            found.setdefault(name, []).append(f"{family}: {said}, {int(states):,} states{steps}, {cells[-1]} s")
    return found


def mutations(checked, simulated):
    simulated = {it["mutation"]: it for it in simulated}
    tlc = tlc_mutations()
    names = list(dict.fromkeys([it["mutation"] for it in checked] + list(simulated) + list(tlc)))
    rows = []
    for name in names:
        judged = [it for it in checked if it["mutation"] == name]
        exhaustive = "<br>".join(
            f"{it['model']}: {it['violated'] or 'survives'}, {it['unique']:,} states"
            + (f", {len(it['trace'])} steps" if it["trace"] else "") + f", {it['seconds']:.1f} s" for it in judged)
        sim, said = simulated.get(name), "-"
        if sim and sim["property"]:
            said = f"{sim['property']}, seed {sim['seed']}, {sim['steps']:,} steps, {sim['seconds']:.1f} s"
        elif sim:
            said = f"survives {sim['seeds']:,} seeds, {sim['steps']:,} steps, {sim['seconds']:.1f} s"
        rows.append([f"`{name}`", exhaustive or "-", said, "<br>".join(tlc.get(name, [])) or "-"])
    return table(["mutation", "exhaustive", "simulation", "TLC"], rows)


def invented(asked):
    judged = dict.fromkeys(it["mutation"] for it in read(asked.mutations))
    return ", ".join(f"`{name}`" for name in judged if name not in KNOWN)


def simulation(report):
    faults = ", ".join(f"{name} {count:,}" for name, count in report["faults"])
    return (f"{report['seeds']:,} seeds, {report['steps']:,} steps in {report['seconds']:.0f} s "
            f"({report['simulated_seconds']:,.0f} s of simulated time); {report['acknowledged']:,} writes acknowledged, "
            f"{report['shown']:,} records read, {report['committed']:,} metadata records committed; "
            f"{len(report['violations'])} violations.\n\nFaults that happened: {faults}.")


def names(page):
    """The models and mutations that a page tells of."""
    return set(re.findall(r"^\| (`[^`]+`) \|", page, re.M))


def origin(asked):
    return f"{datetime.date.today()}, commit {commit()}. {asked.note}".strip()


def read(path):
    return json.loads(pathlib.Path(path).read_text())


def checked(asked):
    """Of one report or several: the deep tier's configurations are run one at a time."""
    return [outcome for path in asked.check for outcome in read(path)]


def write_readme(asked):
    """The models' table stands in the README as well, between two comments."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    README.write_text(f"{before}{BEGIN}\n{origin(asked)}\n\n{models(checked(asked), False)}\n{END}{after}")


def page(asked):
    parts = ["# What the judges said\n",
             f"{origin(asked)} `docs/tables.py` writes this page from the judges' "
             "own reports; how to run them is in the README. Seconds are of one thread on a machine of two cores.\n",
             "## Models, exhaustively within their bounds\n"]
    parts.append(models(checked(asked), True) + "\n")
    if asked.sim:
        parts += ["## Simulation\n", simulation(read(asked.sim)) + "\n"]
    parts += ["## Mutations\n",
              "One guard taken out at a time, by the names of `model/src/rules.rs`. Each judge names the promise that it saw "
              "broken; a guard that only availability needs must survive. Bugs that others had come first in every "
              f"checker's list; these here were thought up from the rules: {invented(asked)}.\n",
              mutations(read(asked.mutations), read(asked.sim_mutations) if asked.sim_mutations else []) + "\n"]
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", required=True, nargs="+")
    parser.add_argument("--mutations", required=True)
    parser.add_argument("--sim")
    parser.add_argument("--sim-mutations")
    parser.add_argument("--note", default="")
    parser.add_argument("--compare", action="store_true")
    asked = parser.parse_args()
    text = page(asked)
    if not asked.compare:
        PAGE.write_text(text)
        write_readme(asked)
        return
    # A quick run judges less than the page tells of: what it judges must be there.
    missing = names(text) - names(PAGE.read_text())
    for name in sorted(missing):
        print(f"{name} is not in docs/proof.md: run docs/tables.py", file=sys.stderr)
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
