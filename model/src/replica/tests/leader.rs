//! Appending, acknowledging, serving.

use super::*;

fn from_producer(request: RequestId, sequence: u8) -> Event<SmallBatch> {
    produced(request, sequence, Acks::All)
}

fn produced(request: RequestId, sequence: u8, acks: Acks) -> Event<SmallBatch> {
    Event::Append { request, batch: SmallBatch::new(9, Some((7, sequence))), acks }
}

#[test]
fn acks_all_waits_until_the_whole_isr_has_fetched_past_the_record() {
    let mut leader = Bench::leader();
    assert_eq!(replies(&leader.append(1, Acks::All)), []);
    assert_eq!(replies(&leader.fetched_by(1, 0)), []);
    assert_eq!(replies(&leader.fetched_by(2, 0)), []);
    assert_eq!(replies(&leader.fetched_by(1, 1)), []);
    let last = leader.fetched_by(2, 1);
    assert_eq!(replies(&last), [(1, Ok(0))]);
    assert!(last.contains(&Effect::News));
    assert_eq!(leader.high_watermark(), 1);
}

#[test]
fn acks_leader_and_acks_none_are_answered_at_once() {
    let mut leader = Bench::leader();
    assert_eq!(replies(&leader.append(1, Acks::Leader)), [(1, Ok(0))]);
    assert_eq!(replies(&leader.append(2, Acks::None)), [(2, Ok(1))]);
    assert_eq!(leader.log.end(), Offset(2));
}

#[test]
fn a_refusal_is_told_whatever_acknowledgement_was_wanted() {
    let mut follower = Bench::follower();
    let refused = follower.append(1, Acks::None);
    assert_eq!(replies(&refused), [(1, Err(ErrorCode::NotLeaderOrFollower))]);
    assert_eq!(follower.log.end(), Offset(0));
    let refused = follower.append(2, Acks::Leader);
    assert_eq!(replies(&refused), [(2, Err(ErrorCode::NotLeaderOrFollower))]);
}

#[test]
fn a_fetch_that_says_nothing_new_is_answered_and_nothing_else() {
    let mut leader = Bench::leader();
    leader.fetched_by(1, 0);
    let again = leader.fetched_by(1, 0);
    assert!(matches!(again[..], [Effect::Answer { .. }]), "{again:?}");
}

#[test]
fn below_min_isr_acks_all_is_refused_and_nothing_written() {
    let mut leader = Bench::new(0);
    leader.sees(view(0, 1, 1, &[0]));
    let refused = leader.append(1, Acks::All);
    assert_eq!(replies(&refused), [(1, Err(ErrorCode::NotEnoughReplicas))]);
    assert_eq!(leader.log.end(), Offset(0));
    leader.append(2, Acks::Leader);
    assert_eq!(leader.high_watermark(), 0, "and what is written with acks=1 is not committed");
    assert!(leader.replica.is_under_min_isr());
}

#[test]
fn the_high_watermark_goes_on_when_the_isr_is_large_enough_again() {
    let mut leader = Bench::leader();
    leader.append(1, Acks::All);
    leader.sees(view(0, 1, 2, &[0]));
    assert_eq!(leader.high_watermark(), 0);
    leader.fetched_by(1, 1);
    let back = leader.sees(view(0, 1, 3, &[0, 1]));
    assert_eq!(replies(&back), [(1, Ok(0))]);
    assert_eq!(leader.high_watermark(), 1);
}

#[test]
fn an_expired_request_is_told_whether_the_isr_was_too_small() {
    let mut leader = Bench::leader();
    leader.append(1, Acks::All);
    leader.append(2, Acks::All);
    let timed_out = leader.step(Event::RequestExpired(1));
    assert_eq!(replies(&timed_out), [(1, Err(ErrorCode::RequestTimedOut))]);
    leader.sees(view(0, 1, 2, &[0]));
    let too_few = leader.step(Event::RequestExpired(2));
    assert_eq!(replies(&too_few), [(2, Err(ErrorCode::NotEnoughReplicasAfterAppend))]);
    assert_eq!(replies(&leader.step(Event::RequestExpired(2))), [], "and only once");
}

#[test]
fn who_waits_is_told_when_the_leader_leads_no_more() {
    let mut leader = Bench::leader();
    leader.append(1, Acks::All);
    let deposed = leader.sees(view(1, 2, 2, &[1, 2]));
    assert_eq!(replies(&deposed), [(1, Err(ErrorCode::NotLeaderOrFollower))]);
    assert_eq!(replies(&leader.append(2, Acks::All)), [(2, Err(ErrorCode::NotLeaderOrFollower))]);
}

#[test]
fn who_waits_waits_on_when_the_same_broker_leads_the_next_epoch() {
    let mut leader = Bench::leader();
    leader.append(1, Acks::All);
    assert_eq!(replies(&leader.sees(view(0, 2, 2, &[0, 1]))), []);
    let acknowledged = leader.step(Event::Fetch(fetch(1, 2, 1, 1)));
    assert_eq!(replies(&acknowledged), [(1, Ok(0))]);
}

#[test]
fn a_duplicate_is_answered_with_the_original_offset_once_that_is_committed() {
    let mut leader = Bench::leader();
    leader.step(from_producer(1, 0));
    leader.step(from_producer(2, 1));
    assert_eq!(replies(&leader.step(from_producer(3, 0))), [], "not before the original");
    assert_eq!(leader.log.end(), Offset(2));
    leader.fetched_by(1, 2);
    let committed = leader.fetched_by(2, 2);
    assert_eq!(replies(&committed), [(1, Ok(0)), (3, Ok(0)), (2, Ok(1))]);
    assert_eq!(replies(&leader.step(from_producer(4, 1))), [(4, Ok(1))]);
    let gap = leader.step(from_producer(5, 3));
    assert_eq!(replies(&gap), [(5, Err(ErrorCode::OutOfOrderSequenceNumber))]);
}

#[test]
fn a_duplicate_with_acks_leader_waits_for_nothing_but_the_leaders_disk() {
    let mut leader = Bench::leader();
    leader.step(produced(1, 0, Acks::Leader));
    assert_eq!(replies(&leader.step(produced(2, 0, Acks::Leader))), [(2, Ok(0))]);

    let mut leader = Bench::new(0);
    leader.sees(View { flush_before_ack: true, ..view(0, 1, 1, &[0, 1]) });
    leader.step(produced(1, 0, Acks::Leader));
    assert_eq!(replies(&leader.step(produced(2, 0, Acks::Leader))), []);
    leader.log.flush();
    let flushed = leader.step(Event::Flushed(Offset(1)));
    assert_eq!(replies(&flushed), [(1, Ok(0)), (2, Ok(0))]);
    assert_eq!(replies(&leader.step(produced(3, 0, Acks::Leader))), [(3, Ok(0))]);
}

#[test]
fn with_flush_before_ack_nothing_counts_until_it_is_on_the_leaders_disk() {
    let mut leader = Bench::new(0);
    leader.sees(View { flush_before_ack: true, ..view(0, 1, 1, &[0, 1]) });
    let first = leader.append(1, Acks::Leader);
    assert!(first.contains(&Effect::Flush));
    assert_eq!(replies(&first), []);
    leader.append(2, Acks::All);
    assert_eq!(leader.replica.waiting_requests(), 2, "each for something else");
    leader.fetched_by(1, 2);
    assert_eq!(leader.high_watermark(), 0);
    leader.log.flush();
    let flushed = leader.step(Event::Flushed(Offset(2)));
    assert_eq!(replies(&flushed), [(2, Ok(1)), (1, Ok(0))]);
}

#[test]
fn a_fetch_is_refused_by_epoch_position_and_registration() {
    let mut leader = Bench::new(0).holding(&[1, 1]);
    let not_leader = outcome(&leader.step(Event::Fetch(fetch(1, 1, 0, 1))));
    assert_eq!(not_leader, FetchOutcome::Refused(ErrorCode::NotLeaderOrFollower));
    leader.sees(view(0, 3, 3, &[0, 1, 2]));
    let mut answer = |fetch| outcome(&leader.step(Event::Fetch(fetch)));

    let fenced = answer(fetch(1, 2, 2, 1));
    assert_eq!(fenced, FetchOutcome::Refused(ErrorCode::FencedLeaderEpoch));
    let ahead = answer(fetch(1, 4, 2, 1));
    assert_eq!(ahead, FetchOutcome::Refused(ErrorCode::UnknownLeaderEpoch));
    let stranger = answer(fetch(8, 3, 2, 1));
    assert_eq!(stranger, FetchOutcome::Refused(ErrorCode::UnknownLeaderEpoch));
    let beyond = answer(Fetch { position: fetch(1, 3, 5, -1).position, ..fetch(1, 3, 5, -1) });
    assert_eq!(beyond, FetchOutcome::OutOfRange { log_start: Offset(0), end: Offset(2) });
    assert!(matches!(answer(fetch(1, 3, 2, 1)), FetchOutcome::Records { .. }));
    let before_restart = Fetch { broker_epoch: BrokerEpoch(5), ..fetch(1, 3, 2, 1) };
    assert_eq!(answer(before_restart), FetchOutcome::Refused(ErrorCode::StaleBrokerEpoch));
}

#[test]
fn a_diverging_fetch_moves_nothing_and_names_where_the_epochs_part() {
    let mut leader = Bench::new(0).holding(&[1, 3]);
    leader.sees(view(0, 4, 4, &[0, 1]));
    let diverging = outcome(&leader.step(Event::Fetch(fetch(1, 4, 2, 2))));
    let parting = crate::EpochEnd { epoch: 1, end: Offset(1) };
    assert_eq!(diverging, FetchOutcome::Diverging(parting));
    assert_eq!(leader.high_watermark(), 0);
}

#[test]
fn a_follower_whose_last_epoch_the_leader_lacks_diverges_however_long_the_leaders_log() {
    // KIP-101: with the leader's next records behind that one the logs would differ for ever.
    let mut leader = Bench::new(0).holding(&[1, 1, 1]);
    leader.sees(view(0, 3, 3, &[0, 1]));
    let mut answer = |offset| outcome(&leader.step(Event::Fetch(fetch(1, 3, offset, 2))));
    let parting = crate::EpochEnd { epoch: 1, end: Offset(3) };
    for offset in [2, 3, 4] {
        assert_eq!(answer(offset), FetchOutcome::Diverging(parting));
    }
    let known = leader.replica.follower_ends().find(|one| one.0 == NodeId(1));
    assert_eq!(known, Some((NodeId(1), None)), "such a fetch says nothing of what it holds");
}

#[test]
fn the_latest_offset_is_not_told_before_the_high_watermark_reaches_the_epoch() {
    let mut leader = Bench::new(0).holding(&[1]);
    leader.sees(view(0, 2, 2, &[0, 1]));
    let latest =
        |leader: &Bench| leader.replica.latest(&leader.log, None).map(|it| it.high_watermark);
    assert_eq!(latest(&leader), Err(ErrorCode::OffsetNotAvailable));
    leader.step(Event::Fetch(fetch(1, 2, 1, 1)));
    assert_eq!(latest(&leader), Ok(Offset(1)));
}

#[test]
fn a_consumer_of_another_epoch_is_told_whose_metadata_is_old() {
    let leader = Bench::leader();
    let read = |epoch| leader.replica.readable(&leader.log, Some(LeaderEpoch(epoch))).err();
    assert_eq!(read(0), Some(ErrorCode::FencedLeaderEpoch));
    assert_eq!(read(1), None);
    assert_eq!(read(2), Some(ErrorCode::UnknownLeaderEpoch));
    let idle = Bench::new(5);
    assert_eq!(idle.replica.readable(&idle.log, None).err(), Some(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn a_view_that_is_older_than_what_is_known_changes_no_role() {
    let mut leader = Bench::leader();
    leader.sees(view(0, 3, 3, &[0, 1]));
    leader.sees(view(1, 2, 2, &[0, 1, 2]));
    assert!(leader.replica.is_leader());
    assert_eq!(leader.replica.leader_epoch(), LeaderEpoch(3));
    assert_eq!(leader.replica.isr(), &*nodes(&[0, 1]));
}

#[test]
fn a_consumer_reads_up_to_the_high_watermark_and_hears_where_its_log_parts() {
    let mut bench = Bench::leader().holding(&[1, 1, 1]);
    bench.fetched_by(1, 2);
    bench.fetched_by(2, 2);
    let at = |offset, last_epoch: Option<i32>| {
        let last_epoch = last_epoch.map(LeaderEpoch);
        let found = bench.replica.consumed(&bench.log, None, Offset(offset), last_epoch);
        found.map(|(readable, parting)| (readable.high_watermark.0, parting.map(|it| it.end.0)))
    };
    assert_eq!(at(3, None), Ok((2, None)), "the end is a position to wait at");
    assert_eq!(at(4, None), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(at(2, Some(1)), Ok((2, None)));
    assert_eq!(at(9, Some(1)), Ok((2, Some(3))), "its log is longer: it parts where this one ends");
}

#[test]
fn records_are_deleted_by_the_leader_and_below_the_high_watermark_only() {
    let mut bench = Bench::leader().holding(&[1, 1, 1]);
    bench.fetched_by(1, 2);
    bench.fetched_by(2, 2);
    let deletable = |before: Option<i64>| bench.replica.deletable(before.map(Offset));
    assert_eq!(deletable(None), Ok(Offset(2)));
    assert_eq!(deletable(Some(1)), Ok(Offset(1)));
    assert_eq!(deletable(Some(3)), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(deletable(Some(-2)), Err(ErrorCode::OffsetOutOfRange));
    let follower = Bench::follower().replica.deletable(None);
    assert_eq!(follower, Err(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn it_tells_what_operators_count() {
    let mut leader = Bench::leader();
    assert!(!leader.replica.is_under_replicated() && !leader.replica.is_under_min_isr());
    leader.append(1, Acks::All);
    leader.append(2, Acks::Leader);
    assert_eq!(leader.replica.waiting_requests(), 1, "acks=1 has its answer");
    leader.sees(view(0, 1, 2, &[0, 1]));
    assert!(leader.replica.is_under_replicated() && !leader.replica.is_under_min_isr());
    leader.sees(view(0, 1, 3, &[0]));
    assert!(leader.replica.is_under_replicated() && leader.replica.is_under_min_isr());

    let mut follower = Bench::follower();
    follower.sees(view(0, 1, 2, &[0]));
    assert!(!follower.replica.is_under_replicated() && !follower.replica.is_under_min_isr());
    assert_eq!(
        (follower.replica.waiting_requests(), follower.replica.leader()),
        (0, Some(NodeId(0)))
    );
}

#[test]
fn a_checkpoint_is_believed_only_after_a_stop_that_lost_nothing() {
    let begins = |is_intact| high_watermark_to_begin_with(Shipped, Offset(5), Offset(2), is_intact);
    assert_eq!((begins(true), begins(false)), (Offset(5), Offset(2)));
}
