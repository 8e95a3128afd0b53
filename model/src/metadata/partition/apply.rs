//! P2: what a change record does to a partition. The only writer of epochs.

use crate::metadata::{Partition, PartitionChange};

impl Partition {
    /// Merges `change` and moves the epochs: the partition's by one, the leader's by one whenever
    /// the record names a leader, even the one that leads already.
    pub fn apply(&mut self, change: &PartitionChange) {
        set(&mut self.replicas, change.replicas);
        set(&mut self.isr, change.isr);
        set(&mut self.removing, change.removing);
        set(&mut self.adding, change.adding);
        set(&mut self.leader, change.leader);
        set(&mut self.recovering, change.recovering);
        set(&mut self.elr, change.elr);
        set(&mut self.last_known_elr, change.last_known_elr);
        self.partition_epoch = self.partition_epoch.next();
        if change.leader.is_some() {
            self.leader_epoch = self.leader_epoch.next();
        }
    }

    /// Whether a reassignment is under way (P7).
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
