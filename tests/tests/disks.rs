//! A broker gets an empty disk, and everything on it from the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use kraft_tests::producer::{Producer, batch, values};
use kraft_tests::{Cluster, Layout, eventually, wire};
use proto_kafka::messages::DeleteRecordsRequest;
use proto_kafka::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};

fn wait_for_isr(address: SocketAddr, size: usize) -> wire::Partition {
    eventually(&format!("the ISR has {size} members"), || {
        let found = wire::describe(address, "t").ok()?.into_iter().next()?;
        (found.isr.len() == size && found.leader >= 0).then_some(found)
    })
}

/// Records are deleted up to an offset that lies inside a batch; batches are kept and sent whole.
#[test]
fn a_replica_on_an_empty_disk_joins_a_log_that_begins_inside_a_batch() {
    let mut cluster = Cluster::start(&Layout::split(1, 3));
    let addresses: BTreeMap<i32, SocketAddr> =
        cluster.brokers().iter().map(|&id| (id, cluster.node(id).address())).collect();
    let any = *addresses.values().next().expect("there are brokers");
    assert_eq!(wire::create_topic(any, "t", 1, 3, &[]).expect("an answer"), 0);
    let leader = wait_for_isr(any, 3).leader;
    let mut to_leader = wire::Connection::open(addresses[&leader]).expect("it listens");
    let ten = batch(&[b"x".as_slice(); 10], Producer::NONE);
    assert_eq!(wire::produce(&mut to_leader, "t", 0, -1, ten).expect("an answer"), (0, 0));

    let upto = DeleteRecordsPartition::default().with_partition_index(0).with_offset(5);
    let topic =
        DeleteRecordsTopic::default().with_name(wire::topic_name("t")).with_partitions(vec![upto]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(5_000);
    let deleted = to_leader.call(2, &request).expect("an answer");
    assert_eq!(deleted.topics[0].partitions[0].low_watermark, 5);

    let (&follower, _) = addresses.iter().find(|&(&id, _)| id != leader).expect("others");
    let cluster_id = cluster.cluster_id.clone();
    cluster.node_mut(follower).kill();
    cluster.node(follower).replace_disk(&cluster_id, &[]);
    wait_for_isr(addresses[&leader], 2);
    cluster.node_mut(follower).start();
    wait_for_isr(addresses[&leader], 3);

    // It can lead, and shows what was not deleted.
    for id in addresses.keys().filter(|&&id| id != follower) {
        cluster.node_mut(*id).kill();
    }
    eventually("the new replica leads", || {
        let mut connection = wire::Connection::open(addresses[&follower]).ok()?;
        let (error, _, records) = wire::fetch(&mut connection, "t", 0, 5).ok()?;
        let left = values(&records).into_iter().filter(|(offset, _)| *offset >= 5).count();
        (error == 0 && left == 5).then_some(())
    });
}
