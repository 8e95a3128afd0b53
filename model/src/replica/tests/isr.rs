//! Joining and leaving the ISR, and the questions to the controller.

use super::*;

/// Replica 0 leads epoch 1 with 0 and 1 in sync; one record is committed, 2 is outside.
fn two_in_sync() -> Bench {
    let mut leader = Bench::new(0);
    leader.sees(view(0, 1, 1, &[0, 1]));
    leader.append(1, Acks::All);
    leader.fetched_by(1, 1);
    assert_eq!(leader.high_watermark(), 1);
    leader
}

#[test]
fn a_follower_joins_once_it_holds_everything_that_is_committed() {
    let mut leader = two_in_sync();
    assert_eq!(alteration(&leader.fetched_by(2, 0)), None);
    let asked = alteration(&leader.fetched_by(2, 1)).expect("it has caught up");
    assert_eq!(asked.isr, nodes(&[0, 1, 2]));
    assert_eq!(*asked.isr_epochs, [0, 1, 2].map(broker_epoch));
    assert_eq!(leader.answers_alter(Some(Ok(()))), []);
    assert_eq!(leader.replica.isr().len(), 2, "only the record puts it in force");
    let joined = leader.sees(view(0, 1, 2, &[0, 1, 2]));
    assert!(joined.contains(&Effect::IsrChanged { shrunk: false }));
    assert_eq!(leader.replica.isr().len(), 3);
}

#[test]
fn a_follower_joins_only_past_the_start_of_the_leaders_epoch() {
    let mut leader = Bench::new(0).holding(&[1]);
    leader.sees(view(0, 2, 2, &[0, 1]));
    assert_eq!(leader.high_watermark(), 0, "so that reaching it proves nothing yet");
    assert_eq!(alteration(&leader.step(Event::Fetch(fetch(2, 2, 0, 1)))), None);
    assert!(alteration(&leader.step(Event::Fetch(fetch(2, 2, 1, 1)))).is_some());
}

#[test]
fn a_follower_joins_only_while_active_and_under_its_present_registration() {
    let mut leader = two_in_sync();
    let mut fenced = view(0, 1, 1, &[0, 1]);
    fenced.brokers[2].2 = false;
    leader.sees(fenced);
    assert_eq!(alteration(&leader.fetched_by(2, 1)), None);

    let mut registered_anew = view(0, 1, 1, &[0, 1]);
    registered_anew.brokers[2].1 = BrokerEpoch(500);
    assert_eq!(alteration(&leader.sees(registered_anew)), None);
    let present = Fetch { broker_epoch: BrokerEpoch(500), ..fetch(2, 1, 1, 1) };
    assert!(alteration(&leader.step(Event::Fetch(present))).is_some());
}

#[test]
fn what_was_fetched_in_an_earlier_epoch_does_not_count() {
    let mut leader = two_in_sync();
    leader.fetched_by(2, 0);
    leader.sees(view(0, 2, 2, &[0, 1]));
    leader.append(2, Acks::All);
    assert_eq!(leader.high_watermark(), 1);
    leader.step(Event::Fetch(fetch(1, 2, 2, 2)));
    assert_eq!(leader.high_watermark(), 2);
}

#[test]
fn the_high_watermark_waits_for_a_member_that_is_only_asked_for() {
    let mut leader = two_in_sync();
    alteration(&leader.fetched_by(2, 1)).expect("it has caught up");
    leader.append(2, Acks::All);
    assert_eq!(replies(&leader.fetched_by(1, 2)), [], "2 may be in the ISR by now");
    leader.answers_alter(Some(Err(ErrorCode::IneligibleReplica)));
    let mut fenced = view(0, 1, 1, &[0, 1]);
    fenced.brokers[2].2 = false;
    assert_eq!(replies(&leader.sees(fenced)), [(2, Ok(1))]);
}

#[test]
fn one_question_is_open_at_a_time_and_repeated_when_no_answer_comes() {
    let mut leader = two_in_sync();
    let asked = alteration(&leader.fetched_by(2, 1));
    assert_eq!(alteration(&leader.fetched_by(2, 0)), None);
    assert_eq!(alteration(&leader.fetched_by(2, 1)), None);
    let lost = leader.answers_alter(None);
    assert!(lost.contains(&Effect::SetTimer(Timer::AlterRetry)));
    assert_eq!(alteration(&leader.fetched_by(2, 0)), None);
    assert_eq!(alteration(&leader.step(Event::Timeout(Timer::AlterRetry))), asked);
}

#[test]
fn a_refusal_that_metadata_explains_is_not_repeated_until_metadata_comes() {
    let mut leader = two_in_sync();
    alteration(&leader.fetched_by(2, 1)).expect("it has caught up");
    leader.answers_alter(Some(Err(ErrorCode::InvalidUpdateVersion)));
    assert_eq!(alteration(&leader.step(Event::Timeout(Timer::AlterRetry))), None);
    assert_eq!(alteration(&leader.fetched_by(2, 0)), None);
    assert_eq!(alteration(&leader.fetched_by(2, 1)), None);
    let asked_anew = alteration(&leader.sees(view(0, 1, 7, &[0, 1])));
    assert_eq!(asked_anew.map(|asked| asked.partition_epoch), Some(PartitionEpoch(7)));
}

#[test]
fn an_answer_to_an_old_question_is_ignored() {
    let mut leader = two_in_sync();
    let asked = alteration(&leader.fetched_by(2, 1)).expect("it has caught up");
    let asked_anew = alteration(&leader.sees(view(0, 1, 5, &[0, 1])));
    assert_eq!(asked_anew.map(|asked| asked.partition_epoch), Some(PartitionEpoch(5)));
    let (leader_epoch, partition_epoch) = (asked.leader_epoch, asked.partition_epoch);
    let answer = Some(Err(ErrorCode::IneligibleReplica));
    assert_eq!(leader.step(Event::Altered { leader_epoch, partition_epoch, answer }), []);
    leader.append(2, Acks::All);
    assert_eq!(replies(&leader.fetched_by(1, 2)), [], "2 may be in the ISR by now");
}

#[test]
fn a_follower_that_stays_behind_leaves_and_one_that_caught_up_in_between_stays() {
    let mut leader = Bench::leader();
    for follower in [1, 2] {
        leader.fetched_by(follower, 0);
        let caught_up = leader.step(Event::Timeout(Timer::Lag(NodeId(follower))));
        assert_eq!(caught_up, [], "no clock runs for who is not behind");
    }
    let behind = leader.append(1, Acks::All);
    for follower in [1, 2] {
        assert!(behind.contains(&Effect::SetTimer(Timer::Lag(NodeId(follower)))));
    }
    leader.fetched_by(1, 1);
    leader.append(2, Acks::All);
    let stays = leader.step(Event::Timeout(Timer::Lag(NodeId(1))));
    assert_eq!(stays, [Effect::SetTimer(Timer::Lag(NodeId(1)))], "the clock starts anew");
    let leaves = alteration(&leader.step(Event::Timeout(Timer::Lag(NodeId(2)))));
    assert_eq!(leaves.map(|asked| asked.isr), Some(nodes(&[0, 1])));
}

#[test]
fn a_silent_follower_leaves_only_if_it_lacks_something() {
    let mut leader = Bench::leader();
    leader.fetched_by(1, 0);
    assert_eq!(alteration(&leader.step(Event::Silent(NodeId(1)))), None);
    leader.append(1, Acks::All);
    let leaves = alteration(&leader.step(Event::Silent(NodeId(1))));
    assert_eq!(leaves.map(|asked| asked.isr), Some(nodes(&[0, 2])));
}

#[test]
fn the_record_is_acknowledged_when_the_slow_follower_is_out() {
    let mut leader = Bench::leader();
    leader.append(1, Acks::All);
    leader.fetched_by(1, 1);
    alteration(&leader.step(Event::Silent(NodeId(2)))).expect("2 lacks the record");
    leader.answers_alter(Some(Ok(())));
    assert_eq!(leader.high_watermark(), 0, "2 is still in the ISR for all this leader knows");
    let out = leader.sees(view(0, 1, 2, &[0, 1]));
    assert_eq!(replies(&out), [(1, Ok(0))]);
    assert_eq!(leader.replica.isr(), &*nodes(&[0, 1]));
}

/// What operators see of it (IsrShrinksPerSec, IsrExpandsPerSec).
#[test]
fn an_isr_has_shrunk_when_it_has_fewer_members() {
    let changed = |isr: &[i32]| {
        let fx = two_in_sync().sees(view(0, 1, 2, isr));
        fx.iter().find_map(|effect| match effect {
            Effect::IsrChanged { shrunk } => Some(*shrunk),
            _ => None,
        })
    };
    assert_eq!(changed(&[0]), Some(true));
    assert_eq!(changed(&[0, 1, 2]), Some(false));
    assert_eq!(changed(&[0, 2]), Some(false), "who left was replaced");
    assert_eq!(changed(&[0, 1]), None);
}

#[test]
fn an_unclean_leader_says_at_once_that_it_has_recovered() {
    let mut leader = Bench::new(0);
    let mut unclean = view(0, 1, 1, &[0]);
    unclean.partition.recovering = true;
    let asked = alteration(&leader.sees(unclean)).expect("it recovers by leading");
    assert!(!asked.recovering);
    assert_eq!(asked.isr, nodes(&[0]));
}

#[test]
fn a_leader_that_follows_waits_for_nobodys_lag_and_no_answer() {
    let mut leader = Bench::leader();
    leader.append(1, Acks::All);
    leader.fetched_by(1, 0);
    let lag = Timer::Lag(NodeId(1));
    leader.step(Event::Timeout(lag));
    leader.answers_alter(None);
    // The bench sees to it that the timers go with the role.
    leader.sees(view(1, 2, 2, &[1, 2]));
    assert!(leader.replica.is_follower());
}
