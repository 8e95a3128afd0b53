//! librdkafka against kraft: texts through every codec in both directions, administration, and the
//! death of a leader under load. Behind the feature `interop`, because it builds C.
#![cfg(feature = "interop")]

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kraft_tests::load::{Acked, assert_nothing_lost, read_all};
use kraft_tests::wire::{self, Connection};
use kraft_tests::{Cluster, Layout, eventually};
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const LINES: usize = 100_000;
const PARTITIONS: i32 = 3;
const PATIENCE: Duration = Duration::from_secs(60);
/// Every codec, and its number in the attributes of a batch.
const CODECS: [(&str, u8); 5] = [("none", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)];

#[test]
fn what_librdkafka_writes_with_any_codec_kraft_reads_byte_for_byte_and_in_order() {
    let cluster = Cluster::start(&Layout::split(3, 3));
    let text = Text::new(LINES);
    for (codec, number) in CODECS {
        let topic = format!("from-librdkafka-{codec}");
        create_topic(&cluster, &topic, PARTITIONS, 2).expect("a new topic");
        let producer = producer(&cluster, codec);
        for line in &text.lines {
            send(&producer, &topic, line);
        }
        producer.flush(PATIENCE).expect("everything is delivered or has failed");
        assert_eq!(producer.context().acked().len(), LINES, "{codec}: acknowledged");
        let partitions = (0..PARTITIONS).map(|index| kraft_consume(&cluster, &topic, index));
        text.assert_is_in(&partitions.collect::<Vec<_>>(), codec);
        // librdkafka compresses with lz4 only for brokers that list FindCoordinator (its mark of a
        // Kafka that knows lz4), which comes with consumer groups; until then it sends plain text.
        if codec != "lz4" {
            assert_codec_came_through(&cluster, &topic, number);
        }
    }
}

#[test]
fn what_kraft_writes_with_any_codec_librdkafka_reads_byte_for_byte_and_in_order() {
    let cluster = Cluster::start(&Layout::split(3, 3));
    let text = Text::new(LINES);
    let file = text.write(&cluster);
    for (codec, number) in CODECS {
        let topic = format!("from-kraft-{codec}");
        create_topic(&cluster, &topic, PARTITIONS, 2).expect("a new topic");
        let input = File::open(&file).expect("the text");
        let bootstrap = cluster.bootstrap();
        let output = cluster
            .kraft(&["produce", &topic, "--compression", codec, "--bootstrap-server", &bootstrap])
            .stdin(input)
            .output()
            .expect("kraft runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kraft produce, {codec}: {error}");
        text.assert_is_in(&librdkafka_consume(&cluster, &topic), codec);
        assert_codec_came_through(&cluster, &topic, number);
    }
}

#[test]
fn a_topic_that_librdkafka_creates_is_as_it_asked_and_cannot_be_created_twice() {
    let cluster = Cluster::start(&Layout::split(3, 3));
    create_topic(&cluster, "orders", 3, 2).expect("a new topic");
    let address = addresses(&cluster)[0];
    let found = eventually("the broker that we ask knows the topic", || {
        wire::describe(address, "orders").ok().filter(|found| found.len() == 3)
    });
    for partition in &found {
        let replicas: BTreeSet<i32> = partition.replicas.iter().copied().collect();
        assert_eq!(replicas.len(), 2, "two different replicas: {partition:?}");
        assert!(replicas.contains(&partition.leader), "led by a replica: {partition:?}");
    }
    let leaders: BTreeSet<i32> = found.iter().map(|partition| partition.leader).collect();
    assert_eq!(leaders.len(), 3, "each broker leads one of three: {found:?}");
    let again = create_topic(&cluster, "orders", 3, 2);
    assert_eq!(again, Err(RDKafkaErrorCode::TopicAlreadyExists));
    assert_eq!(
        create_topic(&cluster, "wide", 1, 4),
        Err(RDKafkaErrorCode::InvalidReplicationFactor)
    );
}

#[test]
fn killing_the_leader_under_librdkafkas_load_loses_nothing_and_doubles_nothing() {
    let mut cluster = Cluster::start(&Layout::split(3, 3));
    create_topic(&cluster, "t", 1, 3).expect("a new topic");
    let brokers = addresses(&cluster);
    wait_for_isr(&brokers, 3);
    let producer = Arc::new(producer(&cluster, "none"));
    let stop = Arc::new(AtomicBool::new(false));
    let sender = std::thread::spawn({
        let (producer, stop) = (producer.clone(), stop.clone());
        move || send_numbers(&producer, &stop)
    });
    wait_for_more(&producer, 500);
    for _ in 0..3 {
        let victim = leader(&brokers);
        cluster.node_mut(victim).kill();
        let killed_at = Instant::now();
        let took = eventually("librdkafka finds the new leader", || {
            let acked = producer.context().acked();
            acked.iter().find(|ack| ack.at > killed_at).map(|ack| ack.at - killed_at)
        });
        println!("acknowledged {took:?} after the kill of broker {victim}");
        wait_for_more(&producer, 500);
        cluster.node_mut(victim).start();
        wait_for_isr(&brokers, 3);
    }
    stop.store(true, Ordering::Relaxed);
    let sent = sender.join().expect("the sender found nothing wrong");
    producer.flush(PATIENCE).expect("everything is delivered");
    let log = read_all("t", &brokers);
    let values: Vec<&[u8]> = log.iter().map(|(_, value)| value.as_slice()).collect();
    let expected: Vec<Vec<u8>> = (0..sent).map(numbered).collect();
    assert_eq!(values.len(), sent, "as many records as were sent");
    let wrong = values.iter().zip(&expected).position(|(found, expected)| found != expected);
    assert_eq!(wrong, None, "the first record that is not the one that was sent there");
    let acked = producer.context().acked();
    assert_eq!(acked.len(), sent, "each record is acknowledged once");
    assert_nothing_lost(&acked, &log);
}

/// A text whose lines are all different, so that each can be told from every other.
struct Text {
    lines: Vec<Vec<u8>>,
    numbers: HashMap<Vec<u8>, usize>,
}

impl Text {
    /// Lines of many lengths, with what trips up those who take lines for words: carriage returns,
    /// bytes that are no UTF-8, zeros, and once in a while a line longer than most batches.
    fn new(count: usize) -> Text {
        const WORDS: [&[u8]; 8] =
            [b"order", b"paid", "größer".as_bytes(), b"\xff\xfe", b"\0", b"\t", b"end\r", b"  "];
        let line = |number: usize| {
            let mut line = format!("{number} ").into_bytes();
            for step in 0..number % 13 {
                line.extend_from_slice(WORDS[(number / 13 + step * 5) % WORDS.len()]);
                line.push(b' ');
            }
            if number % 20_000 == 19_999 {
                line.resize(200_000, b'x');
            }
            line.extend_from_slice(WORDS[number % WORDS.len()]);
            line
        };
        let lines: Vec<Vec<u8>> = (0..count).map(line).collect();
        let numbers = lines.iter().cloned().zip(0..).collect();
        Text { lines, numbers }
    }

    fn write(&self, cluster: &Cluster) -> PathBuf {
        let path = cluster.dir.path().join("text");
        let mut bytes = self.lines.join(&b'\n');
        bytes.push(b'\n');
        fs::write(&path, bytes).expect("room for the text");
        path
    }

    /// Every line is in exactly one partition, once, after the lines that came before it there.
    fn assert_is_in(&self, partitions: &[Vec<Vec<u8>>], what: &str) {
        let mut total = 0;
        for (index, lines) in partitions.iter().enumerate() {
            let number = |line: &Vec<u8>| match self.numbers.get(line) {
                Some(number) => *number,
                None => panic!("{what}: nobody wrote {:?}", String::from_utf8_lossy(line)),
            };
            let numbers: Vec<usize> = lines.iter().map(number).collect();
            let is_ordered = numbers.is_sorted_by(|earlier, later| earlier < later);
            assert!(is_ordered, "{what}: partition {index} is out of order or repeats itself");
            total += numbers.len();
        }
        assert_eq!(total, self.lines.len(), "{what}: lines");
        let seen: BTreeSet<&[u8]> = partitions.iter().flatten().map(Vec::as_slice).collect();
        assert_eq!(seen.len(), total, "{what}: a line is in two partitions");
    }
}

/// What librdkafka said about each record that it was given.
#[derive(Default)]
struct Account {
    acked: Mutex<Vec<Acked>>,
}

impl Account {
    fn acked(&self) -> Vec<Acked> {
        self.acked.lock().expect("no panic elsewhere").clone()
    }

    fn count(&self) -> usize {
        self.acked.lock().expect("no panic elsewhere").len()
    }
}

impl ClientContext for Account {}

impl ProducerContext for Account {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                let value = message.payload().unwrap_or_default().to_vec();
                let ack = Acked { value, offset: message.offset(), at: Instant::now() };
                self.acked.lock().expect("no panic elsewhere").push(ack);
            }
            // Whoever counts the acknowledgements misses it.
            Err((error, _)) => eprintln!("not delivered: {error}"),
        }
    }
}

/// An idempotent producer with acks=all, which sends each record to a random partition (its default,
/// a random partition every few milliseconds, might leave one out).
fn producer(cluster: &Cluster, codec: &str) -> ThreadedProducer<Account> {
    ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap())
        .set("enable.idempotence", "true")
        .set("compression.type", codec)
        .set("sticky.partitioning.linger.ms", "0")
        .create_with_context(Account::default())
        .expect("settings that librdkafka takes")
}

/// Hands a record over, waiting while librdkafka's queue is full.
fn send(producer: &ThreadedProducer<Account>, topic: &str, value: &[u8]) {
    eventually("librdkafka takes the record", || {
        let full = RDKafkaErrorCode::QueueFull;
        match producer.send(BaseRecord::<(), [u8]>::to(topic).payload(value)) {
            Ok(()) => Some(()),
            Err((KafkaError::MessageProduction(code), _)) if code == full => None,
            Err((error, _)) => panic!("not taken: {error}"),
        }
    });
}

fn numbered(number: usize) -> Vec<u8> {
    format!("record {number}").into_bytes()
}

/// Sends numbered records, about a thousand a second, until told to stop; how many there were.
fn send_numbers(producer: &ThreadedProducer<Account>, stop: &AtomicBool) -> usize {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return number;
        }
        send(producer, "t", &numbered(number));
        std::thread::sleep(Duration::from_millis(1));
    }
    unreachable!("the numbers do not end")
}

fn wait_for_more(producer: &ThreadedProducer<Account>, count: usize) {
    let target = producer.context().count() + count;
    eventually("more records are acknowledged", || {
        (producer.context().count() >= target).then_some(())
    });
}

fn addresses(cluster: &Cluster) -> Vec<SocketAddr> {
    cluster.brokers().iter().map(|id| cluster.node(*id).address()).collect()
}

fn wait_for_isr(brokers: &[SocketAddr], size: usize) {
    eventually(&format!("the ISR has {size} members"), || {
        let is_there = |address: &&SocketAddr| {
            let found = wire::describe(**address, "t").unwrap_or_default();
            found.first().is_some_and(|partition| partition.isr.len() == size)
        };
        brokers.iter().find(is_there)
    });
}

fn leader(brokers: &[SocketAddr]) -> i32 {
    eventually("the partition has a leader", || {
        let found = brokers.iter().find_map(|address| wire::describe(*address, "t").ok())?;
        found.first().map(|partition| partition.leader).filter(|leader| *leader >= 0)
    })
}

/// Creates a topic through librdkafka's admin API.
fn create_topic(
    cluster: &Cluster,
    topic: &str,
    partitions: i32,
    replicas: i32,
) -> Result<(), RDKafkaErrorCode> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap())
        .create()
        .expect("settings that librdkafka takes");
    let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let answers = runtime
        .block_on(admin.create_topics([&wanted], &AdminOptions::new()))
        .expect("an answer to the request");
    let [answer] = &answers[..] else { panic!("one topic, {} answers", answers.len()) };
    answer.as_ref().map(drop).map_err(|(_, code)| *code)
}

fn kraft_consume(cluster: &Cluster, topic: &str, partition: i32) -> Vec<Vec<u8>> {
    let output = cluster
        .kraft(&["consume", topic, "--from-beginning", "--exit-at-end"])
        .args(["--partition", &partition.to_string()])
        .args(["--bootstrap-server", &cluster.bootstrap()])
        .output()
        .expect("kraft runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kraft consume: {error}");
    let mut lines: Vec<Vec<u8>> =
        output.stdout.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    assert_eq!(lines.pop(), Some(Vec::new()), "the last line has its end");
    lines
}

/// Reads every partition to its end, by assignment: without a group's help.
fn librdkafka_consume(cluster: &Cluster, topic: &str) -> Vec<Vec<Vec<u8>>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap())
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()
        .expect("settings that librdkafka takes");
    let mut assignment = TopicPartitionList::new();
    let mut missing = 0;
    for index in 0..PARTITIONS {
        let (low, high) =
            consumer.fetch_watermarks(topic, index, PATIENCE).expect("the ends of a partition");
        assert_eq!(low, 0, "nothing was deleted");
        missing += high;
        assignment.add_partition_offset(topic, index, Offset::Beginning).expect("a position");
    }
    consumer.assign(&assignment).expect("an assignment");
    let mut partitions = vec![Vec::new(); PARTITIONS as usize];
    while missing > 0 {
        let message = consumer.poll(PATIENCE).expect("another record in time");
        let message = message.expect("a record, no error");
        let lines = &mut partitions[message.partition() as usize];
        assert_eq!(message.offset(), lines.len() as i64, "offsets without gaps");
        lines.push(message.payload().unwrap_or_default().to_vec());
        missing -= 1;
    }
    partitions
}

/// The broker keeps batches as they came: the codec is the one that the producer chose. (A single
/// batch may be uncompressed, where a producer finds nothing to gain.)
fn assert_codec_came_through(cluster: &Cluster, topic: &str, codec: u8) {
    const ATTRIBUTES: usize = 22;
    let asked = addresses(cluster)[0];
    for index in 0..PARTITIONS {
        let batches = eventually("the leader answers a fetch", || {
            let mut connection = Connection::open(asked).ok()?;
            let leader = wire::leader_address(&mut connection, topic, index).ok()??;
            let mut connection = Connection::open(leader).ok()?;
            let (code, _, bytes) = wire::fetch(&mut connection, topic, index, 0).ok()?;
            (code == 0).then_some(bytes)
        });
        let mut found = BTreeSet::new();
        let mut rest = &batches[..];
        while let Some(length) = rest.get(8..12) {
            let Some(attributes) = rest.get(ATTRIBUTES) else { break };
            found.insert(attributes & 7);
            let length = u32::from_be_bytes(length.try_into().expect("4 bytes")) as usize;
            rest = rest.get(12 + length..).unwrap_or_default();
        }
        assert!(found.contains(&codec), "{topic}-{index}: codec {codec}, found {found:?}");
    }
}
