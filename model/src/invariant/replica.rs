//! What must hold of a partition's data, on whatever the judge can see of its replicas.
//!
//! All of it is promised while fewer than min.insync.replicas replicas lose data that was not
//! flushed, and no unclean election was asked for.

use crate::metadata::partition::Brokers;
use crate::metadata::{AlteredPartition, Partition};
use crate::replica::{DataLog, Producers};
use crate::{BrokerEpoch, LeaderEpoch, NodeId, Offset};

/// A replica as a judge sees it.
pub trait Held {
    /// What identifies a record: its bytes, their digest, or whatever else tells records apart.
    type Record: PartialEq;

    fn start(&self) -> Offset;

    fn high_watermark(&self) -> Offset;

    /// The record at an offset from the start to the end of the log.
    fn record(&self, offset: Offset) -> Option<Self::Record>;
}

/// Where records are committed that somebody was told of: an acknowledgement of acks=all, or a
/// consumer's read. A replica that may be elected cleanly holds them all; those below its log's
/// start it held once.
pub fn holds_promised<H: Held>(
    replica: &H,
    promised: impl IntoIterator<Item = (Offset, H::Record)>,
) -> bool {
    let mut promised = promised.into_iter();
    promised.all(|(offset, record)| {
        offset < replica.start() || replica.record(offset).as_ref() == Some(&record)
    })
}

/// What this replica shows to consumers is what others were shown there.
pub fn shows_the_same<H: Held>(
    replica: &H,
    shown: impl IntoIterator<Item = (Offset, H::Record)>,
) -> bool {
    let mut visible = shown
        .into_iter()
        .filter(|(offset, _)| (replica.start()..replica.high_watermark()).contains(offset));
    visible.all(|(offset, record)| replica.record(offset).as_ref() == Some(&record))
}

/// Two logs agree below both high watermarks.
pub fn agree_below_high_watermark<H: Held>(one: &H, other: &H) -> bool {
    let from = one.start().max(other.start());
    let to = one.high_watermark().min(other.high_watermark());
    (from.0..to.0).map(Offset).all(|offset| one.record(offset) == other.record(offset))
}

/// The replicas that an election may choose without losing anything (P5).
pub fn electable(partition: &Partition) -> &[NodeId] {
    if partition.isr.is_empty() { &partition.elr } else { &partition.isr }
}

/// A fenced or stopping broker is in no ISR (P3, KIP-841).
pub fn isr_is_active(partition: &Partition, brokers: &impl Brokers) -> bool {
    partition.isr.iter().all(|&member| brokers.is_active(member))
}

/// L2: nobody is in the ISR whom its leader does not count; whoever it does not count may lack
/// what it takes for committed. Of the broker that leads the partition's present epoch.
pub fn isr_is_counted(partition: &Partition, is_counted: impl Fn(NodeId) -> bool) -> bool {
    partition.isr.iter().all(|&member| is_counted(member))
}

/// L4, L5: what a leader that has just begun knows of a follower, the follower has fetched in this
/// epoch. What it fetched in an earlier one may be gone since.
pub fn fetched_in_this_epoch(fetched: Option<LeaderEpoch>, now: LeaderEpoch) -> bool {
    fetched == Some(now)
}

/// P3: who is in the ISR that a leader was granted is registered as the leader saw it, if it did; who
/// has registered anew may have lost what it had then (KIP-903).
pub fn joined_as_seen(seen: BrokerEpoch, registered: Option<BrokerEpoch>) -> bool {
    seen == BrokerEpoch::NONE || registered == Some(seen)
}

/// L3: a leader waits for the metadata log to tell it what was decided only if that is committed: the
/// partition has moved on from the epoch under which it asked.
pub fn decision_is_committed(partition: &Partition, asked: &AlteredPartition) -> bool {
    partition.partition_epoch > asked.partition_epoch
}

/// While one broker leads one epoch, its high watermark does not go back.
pub fn high_watermark_stands(before: Offset, after: Offset) -> bool {
    before <= after
}

/// The same of a replica before and after a step: the epoch that it leads, if it leads one, and its
/// high watermark.
pub fn leader_stands(
    before: (Option<LeaderEpoch>, Offset),
    after: (Option<LeaderEpoch>, Offset),
) -> bool {
    let leads_on = before.0.is_some() && before.0 == after.0;
    !leads_on || high_watermark_stands(before.1, after.1)
}

/// An idempotent producer's records: each once, and in the order in which they were sent (I3).
pub fn once_and_in_order(sequences: impl IntoIterator<Item = i32>) -> bool {
    let mut last = None;
    sequences.into_iter().all(|sequence| last.replace(sequence).is_none_or(|last| last < sequence))
}

/// What is known of producers is what the log says, no more and no less (I1).
pub fn producers_follow_the_log<L: DataLog>(known: &Producers, log: &L) -> bool {
    *known == log.producers_at(log.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inline::{InlineVec, Nodes};
    use crate::log::Log;
    use crate::replica::small_log::{SmallBatch, SmallLog};
    use crate::{PartitionEpoch, TopicPartition};

    struct Replica {
        high_watermark: i64,
        records: &'static [char],
    }

    impl Held for Replica {
        type Record = char;

        fn start(&self) -> Offset {
            Offset(0)
        }

        fn high_watermark(&self) -> Offset {
            Offset(self.high_watermark)
        }

        fn record(&self, offset: Offset) -> Option<char> {
            self.records.get(offset.0 as usize).copied()
        }
    }

    fn replica(high_watermark: i64, records: &'static [char]) -> Replica {
        Replica { high_watermark, records }
    }

    #[test]
    fn what_is_known_from_an_earlier_epoch_or_registration_is_seen() {
        let now = LeaderEpoch(2);
        assert!(fetched_in_this_epoch(Some(now), now));
        assert!(!fetched_in_this_epoch(Some(LeaderEpoch(1)), now));
        assert!(!fetched_in_this_epoch(None, now));
        let seen = BrokerEpoch(7);
        assert!(joined_as_seen(seen, Some(seen)) && joined_as_seen(BrokerEpoch::NONE, None));
        assert!(!joined_as_seen(seen, Some(BrokerEpoch(9))) && !joined_as_seen(seen, None));
    }

    #[test]
    fn a_promised_record_that_is_missing_or_another_one_is_seen() {
        let promised = [(Offset(1), 'b')];
        assert!(holds_promised(&replica(0, &['a', 'b']), promised));
        assert!(!holds_promised(&replica(0, &['a']), promised));
        assert!(!holds_promised(&replica(0, &['a', 'c']), promised));
    }

    #[test]
    fn another_record_matters_only_once_consumers_see_it() {
        let shown = [(Offset(0), 'a'), (Offset(1), 'b')];
        assert!(shows_the_same(&replica(1, &['a', 'x']), shown));
        assert!(!shows_the_same(&replica(2, &['a', 'x']), shown));
    }

    #[test]
    fn logs_may_differ_only_above_the_lower_high_watermark() {
        let one = replica(2, &['a', 'b']);
        assert!(agree_below_high_watermark(&one, &replica(1, &['a', 'x'])));
        assert!(!agree_below_high_watermark(&one, &replica(2, &['a', 'x'])));
    }

    #[test]
    fn the_elr_is_electable_only_when_the_isr_is_empty() {
        let nodes = |ids: &[i32]| ids.iter().map(|&id| NodeId(id)).collect::<Nodes>();
        let both = Partition { isr: nodes(&[1]), elr: nodes(&[2]), ..Partition::default() };
        assert_eq!(electable(&both), &*nodes(&[1]));
        let only_elr = Partition { elr: nodes(&[2]), ..Partition::default() };
        assert_eq!(electable(&only_elr), &*nodes(&[2]));
    }

    #[test]
    fn a_fenced_member_of_an_isr_is_seen() {
        struct OneFenced;
        impl Brokers for OneFenced {
            fn is_active(&self, broker: NodeId) -> bool {
                broker != NodeId(1)
            }
            fn epoch(&self, _: NodeId) -> Option<BrokerEpoch> {
                None
            }
        }
        let isr =
            |id| Partition { isr: [NodeId(id)].into_iter().collect(), ..Partition::default() };
        assert!(isr_is_active(&isr(0), &OneFenced));
        assert!(!isr_is_active(&isr(1), &OneFenced));
    }

    #[test]
    fn a_member_of_the_isr_that_its_leader_does_not_count_is_seen() {
        let isr = [NodeId(1), NodeId(2)].into_iter().collect();
        let partition = Partition { isr, ..Partition::default() };
        assert!(isr_is_counted(&partition, |_| true));
        assert!(!isr_is_counted(&partition, |member| member == NodeId(1)));
    }

    #[test]
    fn a_decision_that_nobody_committed_is_seen() {
        let asked = AlteredPartition {
            id: TopicPartition::default(),
            leader_epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(3),
            isr: Nodes::new(),
            isr_epochs: InlineVec::new(),
            recovering: false,
        };
        let at =
            |epoch| Partition { partition_epoch: PartitionEpoch(epoch), ..Partition::default() };
        assert!(decision_is_committed(&at(4), &asked));
        assert!(!decision_is_committed(&at(3), &asked));
    }

    #[test]
    fn a_batch_that_is_known_and_no_longer_in_the_log_is_seen() {
        let mut log = SmallLog::default();
        log.append_as_leader(LeaderEpoch(0), SmallBatch::new(0, Some((1, 0))));
        let known = log.producers_at(log.end());
        assert!(producers_follow_the_log(&known, &log));
        log.truncate(Offset(0));
        assert!(!producers_follow_the_log(&known, &log));
    }

    #[test]
    fn a_falling_high_watermark_and_a_repeated_sequence_are_seen() {
        assert!(high_watermark_stands(Offset(1), Offset(1)));
        assert!(!high_watermark_stands(Offset(2), Offset(1)));
        let leads = |epoch, high_watermark| (Some(LeaderEpoch(epoch)), Offset(high_watermark));
        assert!(leader_stands(leads(1, 1), leads(1, 2)) && leader_stands(leads(1, 2), leads(2, 1)));
        assert!(leader_stands((None, Offset(2)), (None, Offset(1))));
        assert!(!leader_stands(leads(1, 2), leads(1, 1)));
        assert!(once_and_in_order([0, 1, 2]));
        assert!(!once_and_in_order([0, 1, 1]));
        assert!(!once_and_in_order([1, 0]));
    }
}
