//! Which role a view gives to a replica, and what a replica passes on from one to the next.

use super::*;

#[test]
fn a_broker_that_is_no_replica_any_more_rests() {
    let mut elsewhere = view(0, 1, 2, &[0, 2]);
    elsewhere.partition.replicas = nodes(&[0, 2]);
    let mut follower = Bench::follower();
    assert_eq!(follower.sees(elsewhere), [Effect::StopFetching]);
    assert!(!follower.replica.is_follower());

    elsewhere.partition.leader_epoch = LeaderEpoch(2);
    let mut never_was_one = Bench::new(1);
    never_was_one.sees(elsewhere);
    assert_eq!(never_was_one.replica.asks(), None, "it copies nothing that is not its own");
}

#[test]
fn another_isr_leaves_a_followers_fetch_alone() {
    let mut follower = Bench::follower();
    let asks = follower.replica.asks();
    assert_eq!(follower.sees(view(0, 1, 2, &[0, 1])), [], "its leader and the epoch are the same");
    assert!(asks.is_some());
    assert_eq!(follower.replica.asks(), asks);
}

#[test]
fn another_leader_or_another_epoch_of_the_same_one_is_asked_anew() {
    for leader in [0, 2] {
        let mut follower = Bench::follower();
        let anew = follower.sees(view(leader, 2, 2, &[0, 2]));
        assert!(anew.contains(&Effect::Became { leader: false, epoch: LeaderEpoch(2) }));
        assert_eq!(asked_position(&anew).map(|it| it.leader_epoch), Some(LeaderEpoch(2)));
        assert_eq!(follower.replica.asks().map(|(asked, _)| asked), Some(NodeId(leader)));
    }
}

#[test]
fn who_leads_the_next_epoch_too_begins_it_like_any_new_leader() {
    let mut leader = Bench::leader();
    leader.append(1, Acks::All);
    leader.fetched_by(1, 1);
    leader.fetched_by(2, 0);
    let again = leader.sees(view(0, 2, 2, &[0, 1, 2]));
    assert!(again.contains(&Effect::Became { leader: true, epoch: LeaderEpoch(2) }));
    let known = leader.replica.follower_ends().filter(|(_, end)| end.is_some()).count();
    assert_eq!(known, 0, "what followers hold they say anew in each epoch (L5)");
    // KIP-207: what was appended before the epoch began may be committed without being known to be.
    let latest = |leader: &Bench| leader.replica.latest(&leader.log, None).err();
    assert_eq!(latest(&leader), Some(ErrorCode::OffsetNotAvailable));
    for follower in [1, 2] {
        leader.step(Event::Fetch(fetch(follower, 2, 1, 1)));
    }
    assert_eq!(latest(&leader), None);
}

#[test]
fn a_view_of_an_earlier_partition_epoch_is_late_and_puts_no_isr_in_force() {
    let mut leader = Bench::leader();
    leader.sees(view(0, 1, 3, &[0, 1]));
    let late = leader.sees(view(0, 1, 2, &[0, 1, 2]));
    assert!(!late.iter().any(|effect| matches!(effect, Effect::IsrChanged { .. })));
    assert_eq!(leader.replica.isr(), &*nodes(&[0, 1]));
    assert_eq!(leader.replica.partition().partition_epoch, PartitionEpoch(3));
}

/// P6: clearing an ELR is a record that moves no epoch.
#[test]
fn a_view_of_the_same_epochs_is_not_late() {
    let mut with_elr = view(0, 1, 2, &[0]);
    with_elr.partition.elr = nodes(&[1]);
    let mut leader = Bench::leader();
    leader.sees(with_elr);
    leader.sees(view(0, 1, 2, &[0]));
    assert_eq!(leader.replica.partition().elr, nodes(&[]));
}

/// L6: a checkpoint is written now and then, and the log lives on without it.
#[test]
fn a_checkpoint_outside_the_log_is_moved_to_its_border_in_any_role() {
    for me in [0, 1] {
        let begins = |checkpoint: i64| {
            let mut bench = Bench::new(me).holding(&[1, 1, 1, 1]);
            bench.log.advance_start(Offset(2));
            bench.replica.high_watermark = Offset(checkpoint);
            bench.sees(view(0, 2, 2, &[0, 1, 2]));
            bench.high_watermark()
        };
        assert_eq!(begins(1), 2, "records were deleted after it was written");
        assert_eq!(begins(3), 3);
        assert_eq!(begins(6), 4, "the log has lost its end since");
    }
}
