//! What must always hold of a controller quorum, whoever looks: checker, simulator, or a running
//! cluster's operator.
//!
//! Every function is pure and takes the little that it judges. [`Replica`] is one node as seen at
//! one moment; history (who ever led, what was ever committed) is the caller's to keep.

use crate::raft::{Patience, Quorum, Timer};
use crate::{Epoch, NodeId, Offset, Rules};

/// A record of the metadata log as an invariant sees it: comparable, and of an epoch.
pub trait Entry: Eq {
    fn epoch(&self) -> i32;
}

/// One node of the quorum at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replica<'a, E> {
    pub epoch: Epoch,
    pub leads: bool,
    pub log: &'a [E],
    /// Records of `log` that are on disk.
    pub flushed: usize,
    pub high_watermark: usize,
}

/// The longest prefix that any node ever took for committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed<'a, E> {
    pub log: &'a [E],
    /// The highest epoch in which a leader advanced it.
    pub epoch: Epoch,
}

/// One leader per epoch, ever: nobody leads an epoch that another node has led before. `led` names
/// the leader that `epoch` is known to have had.
pub fn one_leader_per_epoch(led: Option<NodeId>, leads: NodeId) -> bool {
    led.is_none_or(|led| led == leads)
}

/// Epochs never fall, and a vote given in an epoch is never changed in it (Q2, Q3).
pub fn promises_kept(before: (Epoch, Option<NodeId>), after: (Epoch, Option<NodeId>)) -> bool {
    after.0 > before.0 || after.0 == before.0 && (before.1.is_none() || before.1 == after.1)
}

/// A process that has just started neither leads nor stands, whatever the one before it did: what was
/// said to that one was said to the log that it had (Q2).
pub fn begins_anew(leads: bool, stands: bool) -> bool {
    !leads && !stands
}

/// Where two logs have a record of one epoch at one offset, they are the same up to there.
pub fn logs_match<E: Entry>(one: &[E], other: &[E]) -> bool {
    let shared = one.len().min(other.len());
    let last_common = (0..shared).rev().find(|&at| one[at].epoch() == other[at].epoch());
    last_common.is_none_or(|at| one[..=at] == other[..=at])
}

/// Epochs do not fall along a log, and none is above its node's.
pub fn epochs_ascend<E: Entry>(replica: &Replica<'_, E>) -> bool {
    replica.log.is_sorted_by_key(Entry::epoch)
        && replica.log.last().is_none_or(|last| last.epoch() <= replica.epoch.0)
}

/// A leader of the epoch in which something was committed, or of a later one, has all of it.
pub fn leader_is_complete<E: Entry>(replica: &Replica<'_, E>, committed: Committed<'_, E>) -> bool {
    !replica.leads || replica.epoch < committed.epoch || replica.log.starts_with(committed.log)
}

/// What a node takes for committed is what everybody does: the committed prefix never changes.
pub fn committed_never_changes<E: Entry>(
    replica: &Replica<'_, E>,
    committed: Committed<'_, E>,
) -> bool {
    let Some(own) = replica.log.get(..replica.high_watermark) else { return false };
    let shared = own.len().min(committed.log.len());
    own[..shared] == committed.log[..shared]
}

/// A node takes nothing for committed that its own log does not reach (Q8).
pub fn reaches_what_is_committed(end: Offset, high_watermark: Offset) -> bool {
    high_watermark <= end
}

/// What is committed is on the flushed logs of a majority of the `voters` that committed it.
pub fn committed_is_durable<'a, E: Entry + 'a>(
    voters: impl Iterator<Item = Replica<'a, E>>,
    committed: Committed<'_, E>,
) -> bool {
    let (mut all, mut holders) = (0, 0);
    for replica in voters {
        let flushed = &replica.log[..replica.flushed.min(replica.log.len())];
        all += 1;
        holders += usize::from(flushed.starts_with(committed.log));
    }
    holders * 2 > all || committed.log.is_empty()
}

/// A leader commits nothing of an earlier epoch by counting: what it takes for committed ends with a
/// record of its own epoch (Q7, Figure 8 of the Raft paper).
pub fn commits_its_own(leader: Epoch, last_committed: i32) -> bool {
    leader.0 == last_committed
}

/// The high watermark of a node that keeps running never falls (Q7).
pub fn high_watermark_rises(before: usize, after: usize) -> bool {
    after >= before
}

/// Nobody stands for election against a leader whom a majority follows: of `voters`, more than half
/// are free to elect another while `loyal` of them have heard from the leader and had no reason to
/// doubt it since before the candidate asked (Q4).
pub fn leadership_is_stable(loyal: usize, voters: usize) -> bool {
    (voters - loyal) * 2 > voters
}

/// Whatever majority of the `voters` is left has a member that all the others vote for, given
/// whether a voter accepts a candidate's log (Q3). Without it a quorum may be stuck for ever.
pub fn any_majority_can_elect(voters: usize, accepts: impl Fn(usize, usize) -> bool) -> bool {
    let majorities = (0u32..1 << voters).filter(|set| set.count_ones() as usize * 2 > voters);
    majorities.into_iter().all(|set| {
        let members = || (0..voters).filter(move |at| set & 1 << at != 0);
        members()
            .any(|candidate| members().all(|voter| voter == candidate || accepts(voter, candidate)))
    })
}

/// At most one voter set of a log is above what is `committed` (Q12); `sets` says for each record
/// whether it is one.
pub fn one_uncommitted_voter_set(sets: impl Iterator<Item = bool>, committed: usize) -> bool {
    sets.skip(committed).filter(|&is_set| is_set).count() <= 1
}

/// Who votes is changed only by a leader that has committed something in its epoch (Q12): until then
/// a set that an earlier leader appended may be in force elsewhere. `committed` is the highest epoch
/// in which a leader has.
pub fn changes_after_commit(leader: Epoch, committed: Epoch) -> bool {
    committed >= leader
}

/// Whoever cannot go on by itself waits for a time, and for nothing that is over (Q4, Q8, Q9): a
/// voter without a leader for its election, a follower for its leader, a leader for its voters, an
/// observer until it asks again. Without it a node may wait for ever. `runs` tells which of its
/// timers do; how long is no matter.
pub fn waits_for_a_time<R: Rules>(node: &Quorum<R>, runs: impl Fn(Timer) -> bool) -> bool {
    let votes = node.is_voter();
    let [stands, fetches, counts] =
        [Timer::Election(Patience::Full), Timer::Fetch, Timer::CheckQuorum].map(&runs);
    match node.role() {
        "Leader" => {
            let needs_others = node.voters().len() / 2 + 1 > usize::from(votes);
            !stands && !fetches && counts == needs_others
        }
        // It stands before its time is over if the leader is said to be gone.
        "Follower" => fetches && !counts && (votes || !stands),
        _ => {
            let asks = votes || node.voters().is_empty() || runs(Timer::Retry);
            stands == votes && !fetches && !counts && asks
        }
    }
}

/// A leader was voted for, in its own epoch, by more than half of the voters (Q3, Q5).
pub fn elected_by_majority(votes: usize, voters: usize) -> bool {
    votes * 2 > voters
}

/// Who leads has the log with which it stood, and for which it was voted: last epoch and end (Q2).
pub fn kept_its_log(stood: (i32, Offset), leads: (i32, Offset)) -> bool {
    stood <= leads
}

/// A node goes by the voters of the last record of its log that names them, committed or not (Q12).
pub fn voters_follow_log<V: Eq>(in_force: V, recorded: V) -> bool {
    in_force == recorded
}

/// A snapshot holds exactly the committed records below its end (Q11).
pub fn snapshot_is_a_fold<E: Eq>(snapshot: &[E], committed: &[E]) -> bool {
    committed.starts_with(snapshot)
}

/// What a log no longer has below its start is in a snapshot (Q11, KAFKA-14240).
pub fn snapshot_covers_start(start: Offset, snapshot_end: Offset) -> bool {
    start <= snapshot_end
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Entry for (i32, char) {
        fn epoch(&self) -> i32 {
            self.0
        }
    }

    type Log = &'static [(i32, char)];

    fn replica(epoch: i32, leads: bool, log: Log, flushed: usize) -> Replica<'static, (i32, char)> {
        Replica { epoch: Epoch(epoch), leads, log, flushed, high_watermark: 0 }
    }

    fn committed(log: Log, epoch: i32) -> Committed<'static, (i32, char)> {
        Committed { log, epoch: Epoch(epoch) }
    }

    #[test]
    fn a_second_leader_of_an_epoch_is_seen() {
        assert!(one_leader_per_epoch(None, NodeId(1)));
        assert!(one_leader_per_epoch(Some(NodeId(1)), NodeId(1)));
        assert!(!one_leader_per_epoch(Some(NodeId(2)), NodeId(1)));
    }

    #[test]
    fn a_fallen_epoch_and_a_changed_vote_are_seen() {
        let (one, two) = (Some(NodeId(1)), Some(NodeId(2)));
        assert!(promises_kept((Epoch(1), None), (Epoch(1), one)));
        assert!(promises_kept((Epoch(1), one), (Epoch(2), None)));
        assert!(!promises_kept((Epoch(2), None), (Epoch(1), None)));
        assert!(!promises_kept((Epoch(1), one), (Epoch(1), two)));
        assert!(!promises_kept((Epoch(1), one), (Epoch(1), None)));
    }

    #[test]
    fn a_leader_of_a_minority_or_of_another_log_is_seen() {
        assert!(elected_by_majority(2, 3) && !elected_by_majority(2, 4));
        let stood = (2, Offset(5));
        assert!(kept_its_log(stood, stood) && kept_its_log(stood, (3, Offset(4))));
        assert!(!kept_its_log(stood, (2, Offset(4))));
    }

    #[test]
    fn a_process_that_goes_on_where_another_stopped_is_seen() {
        assert!(begins_anew(false, false));
        assert!(!begins_anew(true, false) && !begins_anew(false, true));
    }

    #[test]
    fn logs_that_agree_on_an_epoch_must_agree_below_it() {
        assert!(logs_match(&[(1, 'a'), (1, 'b')], &[(1, 'a'), (2, 'c')]));
        assert!(!logs_match(&[(1, 'a')], &[(1, 'b')]));
        assert!(!logs_match(&[(1, 'a'), (3, 'c')], &[(2, 'a'), (3, 'c')]));
    }

    #[test]
    fn an_epoch_that_falls_along_a_log_is_seen() {
        assert!(epochs_ascend(&replica(2, false, &[(1, 'a'), (2, 'b')], 0)));
        assert!(!epochs_ascend(&replica(2, false, &[(2, 'a'), (1, 'b')], 0)));
        assert!(!epochs_ascend(&replica(1, false, &[(2, 'a')], 0)));
    }

    #[test]
    fn a_leader_that_misses_a_committed_record_is_seen_unless_it_is_deposed() {
        assert!(leader_is_complete(&replica(2, true, &[(1, 'a')], 0), committed(&[(1, 'a')], 1)));
        assert!(!leader_is_complete(&replica(2, true, &[], 0), committed(&[(1, 'a')], 1)));
        assert!(leader_is_complete(&replica(1, true, &[], 0), committed(&[(2, 'a')], 2)));
    }

    #[test]
    fn a_changed_committed_record_is_seen() {
        let follower = Replica { high_watermark: 1, ..replica(2, false, &[(2, 'b')], 0) };
        assert!(!committed_never_changes(&follower, committed(&[(1, 'a')], 1)));
        assert!(committed_never_changes(&follower, committed(&[(2, 'b'), (2, 'c')], 2)));
        let beyond = Replica { high_watermark: 2, ..follower };
        assert!(!committed_never_changes(&beyond, committed(&[], 2)));
    }

    #[test]
    fn a_high_watermark_beyond_the_end_is_seen() {
        assert!(reaches_what_is_committed(Offset(2), Offset(2)));
        assert!(!reaches_what_is_committed(Offset(2), Offset(3)));
    }

    #[test]
    fn a_record_on_half_of_the_disks_is_not_durable() {
        let held = replica(1, false, &[(1, 'a')], 1);
        let pending = replica(1, false, &[(1, 'a')], 0);
        let durable =
            |voters: Vec<_>| committed_is_durable(voters.into_iter(), committed(&[(1, 'a')], 1));
        assert!(durable(vec![held, held, pending]));
        assert!(!durable(vec![held, pending, pending]));
        assert!(!durable(vec![held, held, pending, pending]));
    }

    #[test]
    fn a_record_of_an_earlier_epoch_that_was_counted_is_seen() {
        assert!(commits_its_own(Epoch(3), 3));
        assert!(!commits_its_own(Epoch(3), 2));
    }

    #[test]
    fn a_falling_high_watermark_is_seen() {
        assert!(high_watermark_rises(1, 1));
        assert!(!high_watermark_rises(2, 1));
    }

    #[test]
    fn an_election_against_the_will_of_a_majority_is_seen() {
        assert!(leadership_is_stable(1, 3));
        assert!(!leadership_is_stable(2, 3));
        assert!(leadership_is_stable(2, 5));
        assert!(!leadership_is_stable(2, 4));
    }

    #[test]
    fn a_majority_that_cannot_elect_anybody_is_seen() {
        assert!(any_majority_can_elect(3, |voter, candidate| candidate <= voter));
        let stuck = |voter, candidate| (voter, candidate) != (0, 1) && (voter, candidate) != (1, 0);
        assert!(!any_majority_can_elect(3, stuck));
    }

    #[test]
    fn a_second_uncommitted_voter_set_is_seen() {
        let log = || [true, false, true, true].into_iter();
        assert!(one_uncommitted_voter_set(log(), 3));
        assert!(!one_uncommitted_voter_set(log(), 2));
    }

    #[test]
    fn a_change_of_voters_before_any_commit_is_seen() {
        assert!(changes_after_commit(Epoch(2), Epoch(2)));
        assert!(changes_after_commit(Epoch(2), Epoch(3)));
        assert!(!changes_after_commit(Epoch(2), Epoch(1)));
    }

    #[test]
    fn a_snapshot_of_something_else_is_seen() {
        assert!(snapshot_is_a_fold(&['a'], &['a', 'b']));
        assert!(!snapshot_is_a_fold(&['b'], &['a', 'b']));
        assert!(!snapshot_is_a_fold(&['a', 'b'], &['a']));
    }

    #[test]
    fn a_log_that_begins_after_its_snapshot_is_seen() {
        assert!(snapshot_covers_start(Offset(2), Offset(2)));
        assert!(!snapshot_covers_start(Offset(3), Offset(2)));
    }
}
