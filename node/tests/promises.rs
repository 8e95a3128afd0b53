//! A node of a debug build stops when the metadata that it replays breaks a promise.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use kraft_model::log::Log;
use kraft_model::metadata::{Partition, PartitionRecord, Record};
use kraft_model::raft::RaftLog;
use kraft_model::{ClusterId, Epoch, NodeId, Offset, TopicId, TopicPartition};
use kraft_node::config::NodeConfig;
use kraft_node::peer::record::encode;
use kraft_node::storage::{LogConfig, METADATA_LOG, MetadataLog, Records, format};
use kraft_node::supervisor::run;

const ME: NodeId = NodeId(1);

/// A metadata log in which a broker that nobody registered leads a partition.
fn write_log(dir: &Path) {
    let path = dir.join(METADATA_LOG);
    let (mut log, _) = MetadataLog::open(&path, LogConfig::default()).expect("opens");
    log.append_leader_change(Epoch(1), ME);
    let id = TopicPartition { topic: TopicId(7), partition: 0 };
    let stranger = NodeId(9);
    let alone = [stranger].into_iter().collect();
    let partition =
        Partition { replicas: alone, isr: alone, leader: Some(stranger), ..Partition::default() };
    let records = [
        Record::Topic { id: id.topic, name: "orders".to_owned() },
        Record::Partition(PartitionRecord { id, partition }),
    ];
    let values = records.map(|record| encode(&record).expect("encodes"));
    let batch = Records::build(Offset(1), 1, 0, false, values.iter().map(|value| &value[..]));
    log.append_as_leader(Epoch(1), batch);
    log.flush_job().run().expect("it is brought to disk");
    assert_eq!(log.end(), Offset(3));
}

#[test]
fn a_node_stops_at_metadata_that_breaks_a_promise_and_says_which() {
    if !cfg!(debug_assertions) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory for the test");
    format(dir.path(), ClusterId(5), ME).expect("it is empty");
    write_log(dir.path());
    let config = NodeConfig::on_loopback(ME, dir.path(), &[]).expect("a legal configuration");
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(run(config).map_err(|error| error.to_string())));
    let result = end.recv_timeout(Duration::from_secs(30)).expect("it stops by itself");
    let reason = result.expect_err("with a reason");
    let promise = "a promise of the metadata is broken: the ISR holds active brokers only";
    assert_eq!(reason, promise);
}
