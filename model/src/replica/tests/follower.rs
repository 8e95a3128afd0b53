//! Fetching, appending, truncating.

use super::*;
use crate::EpochEnd;

fn records(position: FetchPosition, log: &SmallLog, high_watermark: i64) -> Fetched<SmallBatch> {
    let outcome = FetchOutcome::Records {
        records: log.read(position.offset),
        high_watermark: Offset(high_watermark),
        log_start: log.start(),
    };
    Fetched { position, outcome }
}

fn answered(position: FetchPosition, outcome: FetchOutcome<SmallBatch>) -> Event<SmallBatch> {
    Event::Fetched { leader: NodeId(0), answer: Fetched { position, outcome } }
}

#[test]
fn a_follower_appends_what_comes_and_asks_on_from_there() {
    let leader = Bench::new(0).holding(&[1, 1]);
    let mut follower = Bench::new(1);
    let first = asked_position(&follower.sees(view(0, 1, 1, &[0, 1, 2]))).expect("it fetches");
    let answer = records(first, &leader.log, 1);
    let next = follower.step(Event::Fetched { leader: NodeId(0), answer });
    assert_eq!(asked_position(&next).map(|position| position.offset), Some(Offset(2)));
    assert_eq!(follower.high_watermark(), 1);
}

#[test]
fn the_high_watermark_never_passes_the_followers_own_end() {
    let leader = Bench::new(0).holding(&[1]);
    let mut follower = Bench::new(1);
    let first = asked_position(&follower.sees(view(0, 1, 1, &[0, 1]))).expect("it fetches");
    let answer = records(first, &leader.log, 5);
    follower.step(Event::Fetched { leader: NodeId(0), answer });
    assert_eq!(follower.high_watermark(), 1);
}

/// A leader compares it with its own log, and nothing is there to be compared but a record.
#[test]
fn a_follower_tells_the_epoch_of_its_last_record_if_it_has_one() {
    let told = |deleted: i64| {
        let mut follower = Bench::new(1).holding(&[1, 2]);
        follower.log.advance_start(Offset(deleted));
        let asked = asked_position(&follower.sees(view(0, 3, 3, &[0]))).expect("it fetches");
        (asked.offset.0, asked.last_epoch)
    };
    assert_eq!(told(0), (2, LeaderEpoch(2)));
    assert_eq!(told(1), (2, LeaderEpoch(2)));
    assert_eq!(told(2), (2, LeaderEpoch::UNKNOWN), "all that it had is deleted");
}

#[test]
fn a_late_answer_is_not_used() {
    let leader = Bench::new(0).holding(&[1, 1]);
    let mut follower = Bench::new(1);
    let first = asked_position(&follower.sees(view(0, 1, 1, &[0, 1, 2]))).expect("it fetches");
    let late = records(first, &leader.log, 2);
    follower.sees(view(2, 2, 2, &[1, 2]));
    assert_eq!(follower.step(Event::Fetched { leader: NodeId(0), answer: late.clone() }), []);
    follower.sees(view(0, 3, 3, &[0, 1]));
    assert_eq!(follower.step(Event::Fetched { leader: NodeId(0), answer: late }), []);
    assert_eq!(follower.log.end(), Offset(0));
}

#[test]
fn logs_that_part_in_several_epochs_agree_again() {
    // KIP-279: the follower lacks the epoch that the leader names, so that one step is not enough.
    let mut leader = Bench::new(0).holding(&[0, 2, 2, 4]);
    let mut follower = Bench::new(1).holding(&[0, 1, 3, 3, 3]);
    leader.sees(view(0, 5, 5, &[0]));
    let first = asked_position(&follower.sees(view(0, 5, 5, &[0]))).expect("it fetches");
    catch_up(&mut leader, &mut follower, first);
    assert_eq!(follower.epochs(), [0, 2, 2, 4]);
    assert_eq!(follower.log, leader.log);
}

#[test]
fn a_new_leader_truncates_nobody_to_the_high_watermark() {
    // KIP-101: what 1 holds is committed though 1 has not heard of it; 0 comes back as leader.
    let mut follower = Bench::new(1).holding(&[1, 1]);
    let asked = follower.sees(view(0, 2, 2, &[0, 1]));
    assert_eq!(follower.high_watermark(), 0);
    assert_eq!(asked_position(&asked).map(|position| position.offset), Some(Offset(2)));
    assert_eq!(follower.epochs(), [1, 1]);
}

#[test]
fn truncating_takes_the_producers_state_back() {
    let mut follower = Bench::follower();
    for sequence in 0..3 {
        let batch = SmallBatch::new(sequence, Some((7, sequence)));
        follower.log.append_as_leader(LeaderEpoch(0), batch);
    }
    let state = follower.log.producers_at(Offset(3));
    follower.replica =
        Replica::new(Shipped, TopicPartition::default(), NodeId(1), Offset(0), state);
    let asked = asked_position(&follower.sees(view(0, 1, 1, &[0]))).expect("it fetches");
    let parting = EpochEnd { epoch: 0, end: Offset(2) };
    let fx = follower.step(answered(asked, FetchOutcome::Diverging(parting)));
    assert!(fx.contains(&Effect::Truncated(Offset(2))));
    assert_eq!(*follower.replica.producers(), follower.log.producers_at(Offset(2)));
    assert_eq!(
        follower.replica.producers().entries().map(|one| one.batches.len()).sum::<usize>(),
        2
    );
}

#[test]
fn truncating_what_no_producer_wrote_leaves_the_producers_as_they_are() {
    // The producer's record is deleted by now, so that the log would not tell of it again.
    let mut follower = Bench::new(1);
    for produced in [Some((7, 0)), None] {
        follower.log.append_as_leader(LeaderEpoch(0), SmallBatch::new(0, produced));
    }
    let state = follower.log.producers_at(Offset(2));
    follower.log.advance_start(Offset(1));
    let partition = TopicPartition::default();
    follower.replica = Replica::new(Shipped, partition, NodeId(1), Offset(1), state.clone());
    let asked = asked_position(&follower.sees(view(0, 1, 1, &[0]))).expect("it fetches");
    let parting = EpochEnd { epoch: 0, end: Offset(1) };
    let fx = follower.step(answered(asked, FetchOutcome::Diverging(parting)));
    assert!(fx.contains(&Effect::Truncated(Offset(1))));
    assert_eq!((follower.replica.producers(), state.len()), (&state, 1));
}

#[test]
fn the_high_watermark_of_a_truncated_log_is_not_beyond_it() {
    let mut follower = Bench::new(1).holding(&[1, 1]);
    follower.replica.high_watermark = Offset(2);
    let asked = asked_position(&follower.sees(view(0, 2, 2, &[0]))).expect("it fetches");
    let parting = EpochEnd { epoch: 1, end: Offset(1) };
    follower.step(answered(asked, FetchOutcome::Diverging(parting)));
    assert_eq!(follower.high_watermark(), 1);
}

#[test]
fn an_in_sync_replica_that_must_truncate_below_its_high_watermark_says_so() {
    let mut follower = Bench::new(1).holding(&[1, 1]);
    follower.replica.high_watermark = Offset(2);
    let asked = asked_position(&follower.sees(view(0, 2, 2, &[0, 1]))).expect("it fetches");
    let parting = EpochEnd { epoch: 1, end: Offset(1) };
    let fx = follower.step(answered(asked, FetchOutcome::Diverging(parting)));
    assert!(fx.iter().any(|effect| matches!(effect, Effect::Violation(_))));
}

#[test]
fn an_in_sync_replica_may_truncate_what_was_never_committed() {
    let mut follower = Bench::new(1).holding(&[1, 1]);
    follower.replica.high_watermark = Offset(1);
    let asked = asked_position(&follower.sees(view(0, 2, 2, &[0, 1]))).expect("it fetches");
    let parting = EpochEnd { epoch: 1, end: Offset(1) };
    let fx = follower.step(answered(asked, FetchOutcome::Diverging(parting)));
    assert!(!fx.iter().any(|effect| matches!(effect, Effect::Violation(_))));
    assert_eq!((follower.log.end(), follower.high_watermark()), (Offset(1), 1));
}

#[test]
fn a_follower_below_the_leaders_start_begins_anew_there() {
    let mut follower = Bench::new(1).holding(&[1]);
    let asked = asked_position(&follower.sees(view(0, 2, 2, &[0]))).expect("it fetches");
    let outcome = FetchOutcome::OutOfRange { log_start: Offset(4), end: Offset(6) };
    let fx = follower.step(answered(asked, outcome));
    assert_eq!((follower.log.start(), follower.log.end()), (Offset(4), Offset(4)));
    assert_eq!(follower.high_watermark(), 4);
    assert_eq!(asked_position(&fx).map(|position| position.offset), Some(Offset(4)));
}

#[test]
fn the_leaders_log_start_is_followed() {
    let mut leader = Bench::new(0).holding(&[1, 1, 1]);
    let mut follower = Bench::new(1);
    let first = asked_position(&follower.sees(view(0, 1, 1, &[0, 1]))).expect("it fetches");
    let answer = records(first, &leader.log, 3);
    let asked = follower.step(Event::Fetched { leader: NodeId(0), answer });
    leader.log.advance_start(Offset(2));
    let answer = records(asked_position(&asked).expect("it asks on"), &leader.log, 3);
    let fx = follower.step(Event::Fetched { leader: NodeId(0), answer });
    assert_eq!(follower.log.start(), Offset(2));
    assert!(fx.contains(&Effect::News));
}

#[test]
fn a_refused_follower_pauses_and_asks_again() {
    let mut follower = Bench::new(1);
    let asked = asked_position(&follower.sees(view(0, 1, 1, &[0, 1]))).expect("it fetches");
    let refusal = FetchOutcome::Refused(ErrorCode::UnknownLeaderEpoch);
    let fx = follower.step(answered(asked, refusal));
    assert_eq!(fx, [Effect::StopFetching, Effect::SetTimer(Timer::FetchRetry)]);
    let again = follower.step(Event::Timeout(Timer::FetchRetry));
    assert_eq!(asked_position(&again), Some(asked));
}

#[test]
fn a_failed_fetch_is_asked_again_unless_another_is_under_way() {
    let mut follower = Bench::new(1);
    let asked = asked_position(&follower.sees(view(0, 1, 1, &[0, 1]))).expect("it fetches");
    let failed = Event::FetchFailed { leader: NodeId(0), position: asked };
    assert_eq!(asked_position(&follower.step(failed.clone())), Some(asked));
    follower.sees(view(0, 2, 2, &[0, 1]));
    assert_eq!(follower.step(failed), []);
}

#[test]
fn records_that_do_not_continue_the_log_are_not_appended() {
    let mut follower = Bench::new(1);
    let asked = asked_position(&follower.sees(view(0, 1, 1, &[0, 1]))).expect("it fetches");
    let records = SmallBatch { base: 3, ..SmallBatch::new(1, None) };
    let outcome =
        FetchOutcome::Records { records, high_watermark: Offset(0), log_start: Offset(0) };
    let fx = follower.step(answered(asked, outcome));
    assert!(fx.contains(&Effect::SetTimer(Timer::FetchRetry)));
    assert_eq!(follower.log.end(), Offset(0));
}

#[test]
fn with_flush_before_ack_a_follower_asks_on_only_from_what_is_on_its_disk() {
    let leader = Bench::new(0).holding(&[1]);
    let mut follower = Bench::new(1);
    let flushing = View { flush_before_ack: true, ..view(0, 1, 1, &[0, 1]) };
    let first = asked_position(&follower.sees(flushing)).expect("an empty log is flushed");
    let answer = records(first, &leader.log, 0);
    let fx = follower.step(Event::Fetched { leader: NodeId(0), answer });
    assert!(fx.contains(&Effect::Flush));
    assert_eq!(asked_position(&fx), None);
    follower.log.flush();
    let flushed = follower.step(Event::Flushed(Offset(1)));
    assert_eq!(asked_position(&flushed).map(|position| position.offset), Some(Offset(1)));
}

#[test]
fn without_a_leader_a_follower_stops_fetching() {
    let mut follower = Bench::follower();
    let mut leaderless = view(0, 2, 2, &[]);
    leaderless.partition.leader = None;
    assert!(follower.sees(leaderless).contains(&Effect::StopFetching));
    assert!(!follower.replica.is_follower());
}

/// F1: what the leader's log spans, and where the follower's begins and ends after it was told.
#[test]
fn out_of_range_it_truncates_begins_anew_or_waits_for_better_news() {
    let told = |own_start: i64, leader: (i64, i64)| {
        let mut follower = Bench::new(1).holding(&[1, 1, 1]);
        follower.log.advance_start(Offset(own_start));
        let asked = asked_position(&follower.sees(view(0, 2, 2, &[0]))).expect("it fetches");
        let (log_start, end) = (Offset(leader.0), Offset(leader.1));
        let fx = follower.step(answered(asked, FetchOutcome::OutOfRange { log_start, end }));
        let asks = asked_position(&fx).map(|position| position.offset.0);
        (follower.log.start().0, follower.log.end().0, asks)
    };
    assert_eq!(told(0, (0, 2)), (0, 2, Some(2)), "the leader has less");
    assert_eq!(told(2, (0, 2)), (2, 2, Some(2)), "all that is left goes");
    assert_eq!(told(2, (0, 1)), (0, 0, Some(0)), "or lies above what the leader has");
    assert_eq!(told(0, (4, 6)), (4, 4, Some(4)), "the leader begins later");
    assert_eq!(told(3, (0, 2)), (0, 0, Some(0)), "nothing to truncate");
    for within in [(0, 3), (3, 5), (1, 4)] {
        assert_eq!(told(0, within), (0, 3, None), "it was in range");
    }
}

#[test]
fn an_answer_that_cuts_nothing_is_not_taken() {
    let mut follower = Bench::new(1).holding(&[1, 1]);
    let asked = asked_position(&follower.sees(view(0, 2, 2, &[0]))).expect("it fetches");
    let nothing = EpochEnd { epoch: 1, end: Offset(2) };
    let fx = follower.step(answered(asked, FetchOutcome::Diverging(nothing)));
    assert!(fx.contains(&Effect::SetTimer(Timer::FetchRetry)), "it would go round in circles");
    assert_eq!(follower.log.end(), Offset(2));
}

#[test]
fn one_out_of_sync_may_truncate_below_what_it_took_for_committed() {
    let mut follower = Bench::new(1).holding(&[1, 1]);
    follower.replica.high_watermark = Offset(2);
    let asked = asked_position(&follower.sees(view(0, 2, 2, &[0]))).expect("it fetches");
    let parting = EpochEnd { epoch: 1, end: Offset(1) };
    let fx = follower.step(answered(asked, FetchOutcome::Diverging(parting)));
    assert!(!fx.iter().any(|effect| matches!(effect, Effect::Violation(_))));
    assert_eq!((follower.log.end(), follower.high_watermark()), (Offset(1), 1));
}

#[test]
fn a_retry_is_called_off_when_there_is_nobody_to_ask() {
    let mut follower = Bench::new(1).holding(&[1]);
    let asked = asked_position(&follower.sees(view(0, 2, 2, &[0]))).expect("it fetches");
    let refused = FetchOutcome::Refused(ErrorCode::NotLeaderOrFollower);
    let fx = follower.step(answered(asked, refused));
    assert!(fx.contains(&Effect::SetTimer(Timer::FetchRetry)));
    // The bench sees to it that the timer goes with the role.
    follower.sees(view(1, 3, 3, &[1]));
    assert!(follower.replica.is_leader());
}

/// Records were deleted up to offset 1 of the leader's log, which lies inside a batch.
#[test]
fn a_log_that_begins_anew_inside_a_batch_begins_with_all_of_it() {
    let mut leader = Bench::new(0).holding(&[1, 1, 1]);
    let whole = leader.log.read(Offset(0));
    leader.log.advance_start(Offset(1));
    let mut follower = Bench::new(1);
    let asked = asked_position(&follower.sees(view(0, 2, 2, &[0]))).expect("it fetches");
    let outcome = FetchOutcome::OutOfRange { log_start: Offset(1), end: Offset(3) };
    let asked = asked_position(&follower.step(answered(asked, outcome))).expect("it fetches on");
    assert_eq!(asked.offset, Offset(1));
    let outcome =
        FetchOutcome::Records { records: whole, high_watermark: Offset(3), log_start: Offset(1) };
    let fx = follower.step(answered(asked, outcome.clone()));
    assert_eq!((follower.log.start(), follower.log.end()), (Offset(1), Offset(3)));
    assert_eq!(asked_position(&fx).map(|position| position.offset), Some(Offset(3)));

    // Another leader may not have deleted those records yet: here they stay deleted.
    let mut follower = Bench::new(1);
    let asked = asked_position(&follower.sees(view(0, 2, 2, &[0]))).expect("it fetches");
    let outcome_of_another = FetchOutcome::OutOfRange { log_start: Offset(2), end: Offset(3) };
    let asked =
        asked_position(&follower.step(answered(asked, outcome_of_another))).expect("it fetches on");
    follower.step(answered(asked, outcome.clone()));
    assert_eq!((follower.log.start(), follower.log.end()), (Offset(2), Offset(3)));

    // A log that has something is not given up for such an answer.
    let mut follower = Bench::new(1).holding(&[1, 1]);
    let asked = asked_position(&follower.sees(view(0, 2, 2, &[0]))).expect("it fetches");
    let fx = follower.step(answered(asked, outcome));
    assert!(fx.contains(&Effect::SetTimer(Timer::FetchRetry)));
    assert_eq!((follower.log.start(), follower.log.end()), (Offset(0), Offset(2)));
}

#[test]
fn a_batch_that_ends_where_the_log_begins_anew_is_not_what_was_asked_for() {
    let mut follower = Bench::new(1);
    let asked = asked_position(&follower.sees(view(0, 2, 2, &[0]))).expect("it fetches");
    let outcome = FetchOutcome::OutOfRange { log_start: Offset(2), end: Offset(3) };
    let asked = asked_position(&follower.step(answered(asked, outcome))).expect("it fetches on");
    let before = Bench::new(0).holding(&[1, 1]).log.read(Offset(0));
    let outcome =
        FetchOutcome::Records { records: before, high_watermark: Offset(3), log_start: Offset(2) };
    let fx = follower.step(answered(asked, outcome));
    assert!(fx.contains(&Effect::SetTimer(Timer::FetchRetry)), "it would go round in circles");
    assert_eq!((follower.log.start(), follower.log.end()), (Offset(2), Offset(2)));
}
