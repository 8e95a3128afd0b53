#!/usr/bin/env python3
"""kraft beside Apache Kafka: the same load, the same client, the same topology, alternating.

    tests/bench/compare.py [--runs 5] [--records 300000] [--seconds 8] [--rounds 8] [--flush page-cache|before-ack]

Each run starts a fresh cluster of three nodes that are controller and broker at once (first kraft, then
Apache Kafka from Maven Central), warms it up, and measures with `rdkafka-load`:

* throughput: 1 KiB records, three partitions, replication 3, acks=all, min.insync.replicas 2, with librdkafka's
  defaults and with large batches;
* latency at 2,000 records/s, linger 0, open loop, in rounds: a JVM that is not warm for this load yet falls seconds
  behind. Of each system the best round counts, by its p99.

Prints one JSON object with every run, the medians, and the median of the runs' ratios (kraft / Kafka; a
throughput ratio above 1 and a latency ratio below 1 favour kraft). On a machine that does other work as well
the figures mean little: each run says how busy it was before (the load average of a minute).

Build first: cargo build --release -p kraft && cargo build --release -p kraft-tests --features interop
Environment: KRAFT, RDKAFKA_LOAD (binaries), INTEROP_CACHE (jars, default target/interop).
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "target/release"
KRAFT = pathlib.Path(os.environ.get("KRAFT", RELEASE / "kraft")).resolve()
LOAD = pathlib.Path(os.environ.get("RDKAFKA_LOAD", RELEASE / "rdkafka-load")).resolve()
CACHE = pathlib.Path(os.environ.get("INTEROP_CACHE", ROOT / "target/interop")).resolve()
LARGE = ["--config", "linger.ms=50", "--config", "batch.size=1000000", "--config", "batch.num.messages=100000",
         "--config", "queue.buffering.max.kbytes=262144"]


def out(*command, **options):
    options.setdefault("timeout", 300)
    done = subprocess.run([str(c) for c in command], capture_output=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"{command[:3]} failed: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout.decode()


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Kraft:
    name = "kraft"

    def __init__(self, flush):
        self.flush = flush

    def start(self, directory):
        self.dir = directory / "kraft"
        out(KRAFT, "up", "--combined", "3", "--detach", "--dir", self.dir, "--set", f"log.flush={self.flush}")
        self.bootstrap = json.loads(out(KRAFT, "status", "--dir", self.dir, "--output", "json"))["bootstrap"]

    def stop(self):
        subprocess.run([str(KRAFT), "down", "--dir", str(self.dir)], stdout=subprocess.DEVNULL, check=False)


class ApacheKafka:
    name = "kafka"

    def __init__(self, flush):
        self.flush = flush
        self.processes = []
        self.libs = CACHE / "kafka-libs"
        if not list(self.libs.glob("kafka-tools-*.jar")):
            out("mvn", "-q", "-B", "-f", ROOT / "tests/interop/java/pom.xml", "dependency:copy-dependencies",
                f"-DoutputDirectory={self.libs}", timeout=900)

    def java(self, *arguments):
        return ["java", *arguments[:-1], *arguments[-1]]

    def start(self, directory):
        ports = free_ports(6)
        voters = ",".join(f"{n + 1}@127.0.0.1:{ports[3 + n]}" for n in range(3))
        self.bootstrap = ",".join(f"127.0.0.1:{ports[n]}" for n in range(3))
        cluster_id = out("java", "-cp", f"{self.libs}/*", "kafka.tools.StorageTool", "random-uuid").split()[-1]
        configs = []
        for n in range(3):
            home = directory / f"kafka-{n + 1}"
            home.mkdir(parents=True)
            lines = [
                "process.roles=broker,controller", f"node.id={n + 1}", f"controller.quorum.voters={voters}",
                f"listeners=PLAINTEXT://127.0.0.1:{ports[n]},CONTROLLER://127.0.0.1:{ports[3 + n]}",
                f"advertised.listeners=PLAINTEXT://127.0.0.1:{ports[n]}", "controller.listener.names=CONTROLLER",
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                f"log.dirs={home / 'data'}",
            ]
            if self.flush == "before-ack":
                lines.append("log.flush.interval.messages=1")
            config = home / "server.properties"
            config.write_text("\n".join(lines) + "\n")
            out("java", "-cp", f"{self.libs}/*", "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", config)
            configs.append(config)
        for config in configs:
            self.processes.append(subprocess.Popen(
                ["java", "-Xmx1g", "-Xms1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
                 "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
                 "-Djava.awt.headless=true", "-cp", f"{self.libs}/*", "kafka.Kafka", str(config)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []


def create(bootstrap, topic):
    """Creates the topic with kraft's command line, which speaks to either; waits until it is there."""
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(
            [str(KRAFT), "topics", "create", topic, "--partitions", "3", "--replication-factor", "3", "--config",
             "min.insync.replicas=2", "--bootstrap-server", bootstrap], capture_output=True)
        if done.returncode == 0 or b"already exists" in done.stderr:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"topic {topic}: {done.stderr.decode(errors='replace')}")
        time.sleep(0.5)


def measure(system, options):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="kraft-compare-"))
    try:
        system.start(directory)

        def load(mode, topic, *more):
            return json.loads(out(LOAD, mode, "--bootstrap", system.bootstrap, "--topic", topic, "--size", "1024", *more))

        create(system.bootstrap, "bench")
        warm = ["--records", str(options.records)]
        for _ in range(2):
            load("produce", "bench", *warm)
        results = {
            "default_records_per_s": load("produce", "bench", "--records", str(options.records))["records_per_s"],
            "large_records_per_s": load("produce", "bench", "--records", str(options.records), *LARGE)["records_per_s"],
        }
        os.sync()  # what the throughput phase left to be written would disturb this one
        create(system.bootstrap, "latency")
        rounds = [load("latency", "latency", "--rate", "2000", "--seconds", str(options.seconds), "--config", "linger.ms=0")
                  for _ in range(options.rounds)]
        print(f"{system.name}: p99 by round {[latency['p99_ms'] for latency in rounds]}", file=sys.stderr, flush=True)
        best = min(rounds, key=lambda latency: latency["p99_ms"])
        results.update({key: best[key] for key in ("p50_ms", "p99_ms", "p999_ms")})
        return results
    finally:
        system.stop()
        shutil.rmtree(directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--flush", choices=["page-cache", "before-ack"], default="page-cache")
    options = parser.parse_args()
    systems = [Kraft(options.flush), ApacheKafka(options.flush)]
    runs = []
    for number in range(options.runs):
        busy = os.getloadavg()[0]
        run = {system.name: measure(system, options) for system in systems}
        run["ratio"] = {key: round(run["kraft"][key] / run["kafka"][key], 3) for key in run["kraft"]}
        run["load_average_before"] = busy
        runs.append(run)
        print(f"run {number + 1}: {json.dumps(run)}", file=sys.stderr, flush=True)
    median = {name: {key: round(statistics.median(run[name][key] for run in runs), 3) for key in runs[0][name]}
              for name in ("kraft", "kafka", "ratio")}
    print(json.dumps({"runs": runs, "median": median}, indent=1))


if __name__ == "__main__":
    main()
