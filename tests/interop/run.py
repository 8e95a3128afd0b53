#!/usr/bin/env python3
"""Other people's Kafka clients against a kraft cluster, unmodified.

    tests/interop/run.py [kcat] [confluent] [java]        (no name: all three)

Installs what it needs (kcat by apt, confluent-kafka by pip into a virtual environment, Kafka's console
tools by Maven), starts a cluster with `kraft up --detach`, lets each client produce, consume and
administrate, compares what comes out byte for byte, and stops the cluster.

Environment: KRAFT (the binary, default target/release/kraft), INTEROP_CACHE (downloads, default
target/interop).
"""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KRAFT = pathlib.Path(os.environ.get("KRAFT", ROOT / "target/release/kraft")).resolve()
CACHE = pathlib.Path(os.environ.get("INTEROP_CACHE", ROOT / "target/interop")).resolve()
RECORDS = 20_000
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def run(*command, **options):
    """Runs a command and returns its standard output; a failure shows everything it said."""
    options.setdefault("timeout", 180)
    done = subprocess.run([str(part) for part in command], capture_output=True, **options)
    if done.returncode != 0:
        sys.stderr.write(done.stdout.decode(errors="replace")[-4000:])
        sys.stderr.write(done.stderr.decode(errors="replace")[-4000:])
        raise SystemExit(f"failed with {done.returncode}: {' '.join(map(str, command))[:300]}")
    return done.stdout


def lines_of_text(count):
    """Lines like those of a log file, of many lengths, some not ASCII."""
    rng = random.Random(7)
    words = ["order", "paid", "größer", "shipped", "λ", "returned", "x" * 200, "0.25", "—"]
    return [f"{n} " + " ".join(rng.choices(words, k=rng.randint(1, 12))) for n in range(count)]


class Cluster:
    """A local cluster for one run."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kraft-interop-"))

    def __enter__(self):
        run(KRAFT, "up", "--detach", "--dir", self.dir / "cluster")
        status = json.loads(self.kraft("status", "--output", "json"))
        self.bootstrap = status["bootstrap"]
        return self

    def kraft(self, *arguments, **options):
        return run(KRAFT, *arguments, "--dir", self.dir / "cluster", **options)

    def __exit__(self, failure, *_):
        if failure:
            for log in sorted(self.dir.rglob("node.log")):
                sys.stderr.write(f"---- {log}\n" + log.read_text(errors="replace")[-2000:])
        subprocess.run([str(KRAFT), "down", "--dir", str(self.dir / "cluster")], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def create(self, topic, partitions=1):
        self.kraft("topics", "create", topic, "--partitions", str(partitions),
                   "--replication-factor", "3")


def same(found, expected, what):
    if found != expected:
        first = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), None)
        raise SystemExit(f"{what}: {len(found)} lines against {len(expected)}, first difference at {first}")
    print(f"  ok: {what}")


def kcat(cluster, lines):
    """kcat, by Debian's package: an old librdkafka, which picks old versions of everything."""
    if not shutil.which("kcat"):
        run("apt-get", "update")
        run("apt-get", "install", "-y", "--no-install-recommends", "kcat")
    text = "\n".join(lines) + "\n"
    for codec in CODECS:
        topic = f"kcat-{codec}"
        cluster.create(topic)
        run("kcat", "-b", cluster.bootstrap, "-P", "-t", topic, "-p", "0", "-z", codec, "-X", "acks=all",
            input=text.encode())
        out = run("kcat", "-b", cluster.bootstrap, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q")
        same(out.decode().splitlines(), lines, f"kcat round trip, {codec}")
        out = cluster.kraft("consume", topic, "--from-beginning", "--exit-at-end")
        same(out.decode().splitlines(), lines, f"kcat to kraft consume, {codec}")
    listed = json.loads(run("kcat", "-b", cluster.bootstrap, "-L", "-J"))
    same(sorted(t["topic"] for t in listed["topics"]), sorted(f"kcat-{c}" for c in CODECS), "kcat -L")


CONFLUENT = r"""
import sys, json
from confluent_kafka import Producer, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, ConfigResource, NewPartitions, ResourceType
bootstrap, codec = sys.argv[1], sys.argv[2]
lines = sys.stdin.buffer.read().splitlines()
topic = f"confluent-{codec}"
admin = AdminClient({"bootstrap.servers": bootstrap})
admin.create_topics([NewTopic(topic, 1, 3)])[topic].result(10)
delivered = []
producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": codec})
for line in lines:
    while True:
        try:
            producer.produce(topic, line, partition=0, on_delivery=lambda e, m: delivered.append(e))
            break
        except BufferError:
            producer.poll(0.05)
assert producer.flush(60) == 0
assert len(delivered) == len(lines) and not any(delivered), [e for e in delivered if e][:3]
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
consumer.assign([TopicPartition(topic, 0, 0)])
out = []
while len(out) < len(lines):
    for message in consumer.consume(1000, 10):
        assert not message.error(), message.error()
        out.append(message.value())
assert out == lines, "what came out is not what went in"
low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
assert (low, high) == (0, len(lines)), (low, high)
consumer.close()
resource = ConfigResource(ResourceType.TOPIC, topic)
configs = list(admin.describe_configs([resource]).values())[0].result(10)
assert configs["retention.ms"].value == "604800000", configs["retention.ms"]
admin.create_partitions([NewPartitions(topic, 3)])[topic].result(10)
assert len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 3
"""


def confluent(cluster, lines):
    """The Python client on a current librdkafka: idempotent producer, consumer by partition, admin."""
    venv = CACHE / "venv"
    if not (venv / "bin/python").exists():
        run(sys.executable, "-m", "venv", venv)
    run(venv / "bin/pip", "install", "--quiet", "confluent-kafka", timeout=300)
    text = "\n".join(lines).encode() + b"\n"
    for codec in CODECS:
        run(venv / "bin/python", "-c", CONFLUENT, cluster.bootstrap, codec, input=text)
        print(f"  ok: confluent-kafka round trip and admin, {codec}")
        out = cluster.kraft("consume", f"confluent-{codec}", "--partition", "0", "--from-beginning",
                            "--exit-at-end")
        same(out.decode().splitlines(), lines, f"confluent-kafka to kraft consume, {codec}")


def java(cluster, lines):
    """Apache Kafka's console tools, from Maven Central."""
    libs = CACHE / "kafka-libs"
    if not list(libs.glob("kafka-tools-*.jar")):
        run("mvn", "-q", "-B", "-f", ROOT / "tests/interop/java/pom.xml", "dependency:copy-dependencies",
            f"-DoutputDirectory={libs}", timeout=600)

    def tool(name, *arguments, **options):
        return run("java", "-Xmx256m", "-cp", f"{libs}/*", f"org.apache.kafka.tools.{name}", *arguments,
                   **options)

    server = ["--bootstrap-server", cluster.bootstrap]
    tool("TopicCommand", *server, "--create", "--topic", "java", "--partitions", "1", "--replication-factor", "3",
         "--config", "min.insync.replicas=2")
    described = tool("TopicCommand", *server, "--describe", "--topic", "java").decode()
    if "ReplicationFactor: 3" not in described or "min.insync.replicas=2" not in described:
        raise SystemExit(f"kafka-topics --describe: {described}")
    print("  ok: kafka-topics --create, --describe")
    listed = tool("TopicCommand", *server, "--list").decode().split()
    same([t for t in listed if t == "java"], ["java"], "kafka-topics --list")
    text = "\n".join(lines) + "\n"
    tool("ConsoleProducer", *server, "--topic", "java", input=text.encode())
    out = tool("consumer.ConsoleConsumer", *server, "--topic", "java", "--partition", "0", "--offset", "earliest",
               "--max-messages", str(len(lines)))
    same(out.decode().splitlines(), lines, "kafka-console-producer, kafka-console-consumer --partition")
    quorum = tool("MetadataQuorumCommand", *server, "describe", "--status").decode()
    if "LeaderId:" not in quorum or "CurrentVoters:" not in quorum:
        raise SystemExit(f"kafka-metadata-quorum: {quorum}")
    print("  ok: kafka-metadata-quorum describe --status")
    tool("MetadataQuorumCommand", *server, "describe", "--replication")
    print("  ok: kafka-metadata-quorum describe --replication")
    tool("TopicCommand", *server, "--alter", "--topic", "java", "--partitions", "2")
    print("  ok: kafka-topics --alter")
    segment = next(iter(sorted(cluster.dir.rglob("java-0/*.log"))))
    dump = tool("DumpLogSegments", "--files", segment, "--print-data-log").decode()
    payloads = [line.split("payload: ", 1)[1] for line in dump.splitlines() if "payload: " in line]
    same(payloads, lines, "kafka-dump-log on a segment")
    tool("TopicCommand", *server, "--delete", "--topic", "java")
    deadline = time.monotonic() + 30
    while "java" in tool("TopicCommand", *server, "--list").decode().split():
        if time.monotonic() > deadline:
            raise SystemExit("the deleted topic is still listed")
    print("  ok: kafka-topics --delete")


def main():
    clients = {"kcat": kcat, "confluent": confluent, "java": java}
    wanted = sys.argv[1:] or list(clients)
    if unknown := [name for name in wanted if name not in clients]:
        raise SystemExit(f"unknown client {unknown[0]}: there are {', '.join(clients)}")
    if not KRAFT.exists():
        raise SystemExit(f"{KRAFT} is not there: run `cargo build --release` first")
    CACHE.mkdir(parents=True, exist_ok=True)
    lines = lines_of_text(RECORDS)
    for name in wanted:
        print(name, flush=True)
        with Cluster() as cluster:
            clients[name](cluster, lines)
    print(f"{len(wanted)} passed, 0 failed")


if __name__ == "__main__":
    main()
