//! A partition's registration in the variables of the specifications.

use kraft_model::NodeId;
use kraft_model::check::Value;
use kraft_model::metadata::Partition;

/// `id` numbers the brokers from 1.
pub fn partition_value(partition: &Partition, min_isr: i32, id: impl Fn(NodeId) -> i64) -> Value {
    let ids = |nodes: &[NodeId]| Value::set(nodes.iter().map(|&it| Value::Int(id(it))));
    let replicas = partition.replicas.iter().map(|&it| Value::Int(id(it)));
    Value::record([
        ("replicas", Value::sequence(replicas)),
        ("isr", ids(&partition.isr)),
        ("elr", ids(&partition.elr)),
        ("lastKnown", ids(&partition.last_known_elr)),
        ("adding", ids(&partition.adding)),
        ("removing", ids(&partition.removing)),
        ("leader", Value::Int(partition.leader.map_or(0, &id))),
        ("recovering", partition.recovering.into()),
        ("leaderEpoch", i64::from(partition.leader_epoch.0).into()),
        ("partitionEpoch", i64::from(partition.partition_epoch.0).into()),
        ("minIsr", i64::from(min_isr).into()),
    ])
}
