#!/usr/bin/env python3
"""Runs TLC on the specifications.

    tla/run.py                      every cfg file of tier quick
    tla/run.py --tier full          those of tier full as well
    tla/run.py CFG...               these
    tla/run.py --mutations [NAME]   each guard taken out in turn: TLC must notice
    ... --record                    keep what came out under results/; of some mutations only their rows

A cfg file is named after its module, `MODULE-what-is-in-it.cfg`, and begins with comments that say what is
expected (`\\* expect: holds`) and when it runs (`\\* tier: quick`, under two minutes, or `full`). A file
mutations*.toml has a table for each mutation: the cfg file that it starts from, the constants that differ, the
only invariants to look at if an earlier one would be in the way, and the property that must be violated, or
"survives". Exit code 1 if anything came out otherwise.
"""

import argparse
import datetime
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import tlc

RESULTS = tlc.TLA / "results"


def directives(config):
    return dict(re.findall(r"^\\\* (\w+): (.*)$", config.read_text(), re.M))


def module_of(config):
    return config.name.partition("-")[0] + ".tla"


def origin():
    git = ["git", "-C", tlc.ROOT]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], text=True, capture_output=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "--", "tla"], text=True, capture_output=True).stdout
    changed = [line for line in changed.splitlines() if "results/" not in line]
    return f"{datetime.date.today()}, commit {commit or 'unknown'}{' and changes' if changed else ''}"


# As it was when the runs began.
ORIGIN = origin()


def describe(result):
    if result.error:
        return f"failed after {result.distinct} distinct states: {result.error}"
    if result.violated:
        return f"{result.violated} violated, {result.distinct} distinct states, trace of {result.trace} states"
    return f"holds, {result.distinct} distinct states, depth {result.depth}"


def run_configs(configs, record, timeout):
    good = True
    for config in configs:
        result = tlc.run(module_of(config), config.resolve(), timeout=timeout)
        expected = directives(config).get("expect", "holds")
        as_expected = result.error is None and (result.violated or "holds") == expected
        good &= as_expected
        verdict = describe(result) + ("" if as_expected else f"  EXPECTED {expected}")
        print(f"{config.stem}: {verdict}, {result.wall:.0f} s ({result.cpu:.0f} s CPU)", flush=True)
        if record and as_expected:
            RESULTS.mkdir(exist_ok=True)
            lines = [f"{config.name}: {verdict}", f"{result.generated} states generated",
                     f"{result.cpu:.0f} s of CPU, {result.wall:.0f} s in all, one worker", ORIGIN]
            (RESULTS / f"{config.stem}.txt").write_text("\n".join(lines) + "\n")
    return good


def mutations():
    """By file: name -> config, constants, invariants, expect."""
    return {path: tomllib.loads(path.read_text()) for path in sorted(tlc.TLA.glob("mutations*.toml"))}


def run_mutations(names, record, timeout):
    good = True
    known = {name for table in mutations().values() for name in table}
    if unknown := set(names) - known:
        raise SystemExit(f"no mutation {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    for path, table in mutations().items():
        rows = []
        for name, aim in table.items():
            if names and name not in names:
                continue
            result = mutate(name, aim, timeout)
            as_expected = result.error is None and (result.violated or "survives") == aim["expect"]
            good &= as_expected
            verdict = describe(result) + ("" if as_expected else f"  EXPECTED {aim['expect']}")
            print(f"{name}: {verdict}, {result.wall:.0f} s ({result.cpu:.0f} s CPU)", flush=True)
            rows.append((name, result.violated or "survives", result.distinct, result.trace or "", f"{result.cpu:.0f}"))
        if record and rows and good:
            write_table(RESULTS / f"{path.stem}.txt", rows, names and [row[0] for row in rows])
    return good


def mutate(name, aim, timeout):
    config = tlc.TLA / aim["config"]
    with tempfile.TemporaryDirectory(prefix="tla-") as directory:
        target = pathlib.Path(directory) / f"{name}.cfg"
        tlc.with_constants(config, {"Mutation": f'"{name}"'} | aim.get("constants", {}), target,
                           aim.get("invariants"))
        return tlc.run(module_of(config), target, timeout=timeout)


HEADER = ("mutation", "violated", "distinct states", "trace", "CPU s")


def write_table(path, rows, only):
    """With `only` the rows of these mutations take the place of their old ones, and a line says so."""
    RESULTS.mkdir(exist_ok=True)
    notes = [ORIGIN]
    if only and path.exists():
        old, _, notes = path.read_text().partition("\n\n")
        notes = [*notes.strip().splitlines(), f"{', '.join(only)}: {ORIGIN}"]
        ends = [old.splitlines()[0].index(name) for name in HEADER] + [None]
        cells = [tuple(line[a:b].strip() for a, b in zip(ends, ends[1:])) for line in old.splitlines()[1:]]
        new = {row[0]: row for row in rows}
        rows = [new.pop(row[0], row) for row in cells] + list(new.values())
    rows = [HEADER, *rows]
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    path.write_text("\n".join([*lines, "", *notes]) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="cfg files, or with --mutations mutations")
    parser.add_argument("--tier", choices=["quick", "full"], default="quick")
    parser.add_argument("--mutations", action="store_true")
    parser.add_argument("--record", action="store_true", help="keep the results")
    parser.add_argument("--timeout", type=float, default=3600, help="give up on a run after so many seconds")
    asked = parser.parse_args()
    if asked.mutations:
        good = run_mutations(asked.names, asked.record, asked.timeout)
    else:
        every = sorted(tlc.TLA.glob("*.cfg"))
        tiers = {"quick"} if asked.tier == "quick" else {"quick", "full"}
        configs = [pathlib.Path(name) for name in asked.names] or [
            config for config in every if directives(config).get("tier", "quick") in tiers]
        good = run_configs(configs, asked.record, asked.timeout)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
