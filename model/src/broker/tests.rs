//! A broker's life, told from start to stop.

use super::*;
use crate::metadata::{BrokerHeartbeat, HeartbeatReply};
use crate::{BrokerEpoch, ErrorCode, NodeId, Offset};

const EPOCH: BrokerEpoch = BrokerEpoch(40);
const SOON: Timer = Timer::Heartbeat { soon: true };
const LATER: Timer = Timer::Heartbeat { soon: false };

struct Story(Broker);

impl Story {
    fn new() -> Story {
        Story(Broker::new(NodeId(7)))
    }

    /// Started, and controller 1 is active: the registration is on its way.
    fn registering() -> Story {
        let mut story = Story::new();
        story.on(Event::Controller(Some(NodeId(1))));
        story.on(Event::Started);
        story
    }

    /// Registered and fenced; the first heartbeat is on its way.
    fn recovering() -> Story {
        let mut story = Story::registering();
        story.on(Event::Registered(Some(Ok(EPOCH))));
        story
    }

    /// Unfenced, waiting for the next heartbeat.
    fn running() -> Story {
        let mut story = Story::recovering();
        story.on(Event::Metadata { end: Offset(41), fenced: Some(true) });
        story.on(beat(unfenced()));
        story
    }

    fn on(&mut self, event: Event) -> Effects {
        let mut fx = Effects::new();
        self.0.step(event, &mut fx);
        fx
    }
}

fn beat(reply: HeartbeatReply) -> Event {
    Event::HeartbeatAnswered(Some(Ok(reply)))
}

fn fenced() -> HeartbeatReply {
    HeartbeatReply { is_caught_up: false, fenced: true, should_shut_down: false }
}

fn unfenced() -> HeartbeatReply {
    HeartbeatReply { is_caught_up: true, fenced: false, should_shut_down: false }
}

fn heartbeat(fx: &Effects) -> Option<BrokerHeartbeat> {
    fx.iter().find_map(|effect| match effect {
        Effect::Heartbeat(heartbeat) => Some(*heartbeat),
        _ => None,
    })
}

#[test]
fn it_registers_when_it_is_ready_and_a_controller_is_known() {
    let mut story = Story::new();
    assert_eq!(story.on(Event::Controller(Some(NodeId(1)))), [], "storage is not recovered");
    let asked = [Effect::Register, Effect::SetTimer(Timer::Answer)];
    assert_eq!(story.on(Event::Started), asked);

    let mut story = Story::new();
    assert_eq!(story.on(Event::Started), [], "there is nobody to ask");
    assert_eq!(story.on(Event::Controller(Some(NodeId(1)))), asked);
}

#[test]
fn a_registration_without_an_answer_is_sent_again() {
    let mut story = Story::registering();
    let unanswered = story.on(Event::Timeout(Timer::Answer));
    assert_eq!(unanswered, [Effect::SetTimer(Timer::Retry)]);
    assert!(story.on(Event::Timeout(Timer::Retry)).contains(&Effect::Register));
    let lost = story.on(Event::Registered(None));
    assert!(lost.contains(&Effect::SetTimer(Timer::Retry)));
}

#[test]
fn registered_it_beats_at_once_and_soon_again_while_it_is_fenced() {
    let mut story = Story::registering();
    let registered = story.on(Event::Registered(Some(Ok(EPOCH))));
    assert!(registered.contains(&Effect::Registered(EPOCH)));
    assert_eq!(heartbeat(&registered).map(|beat| beat.epoch), Some(EPOCH));
    assert!(story.on(beat(fenced())).contains(&Effect::SetTimer(SOON)));
}

#[test]
fn having_replayed_its_registration_it_says_so_at_once() {
    let mut story = Story::recovering();
    story.on(beat(fenced()));
    let too_early = story.on(Event::Metadata { end: Offset(40), fenced: None });
    assert_eq!(heartbeat(&too_early), None);
    let caught_up = story.on(Event::Metadata { end: Offset(41), fenced: Some(true) });
    assert_eq!(heartbeat(&caught_up).map(|beat| beat.metadata_offset), Some(Offset(41)));
    assert!(caught_up.contains(&Effect::CancelTimer(SOON)));
}

#[test]
fn what_it_replayed_during_a_heartbeat_is_told_right_after_it() {
    let mut story = Story::recovering();
    assert_eq!(story.on(Event::Metadata { end: Offset(41), fenced: Some(true) }), []);
    assert!(heartbeat(&story.on(beat(fenced()))).is_some());
}

#[test]
fn it_serves_once_it_is_unfenced_and_is_told_so_only_once() {
    let mut story = Story::recovering();
    story.on(Event::Metadata { end: Offset(41), fenced: Some(true) });
    let unfenced_now = story.on(beat(unfenced()));
    assert!(unfenced_now.contains(&Effect::Serve));
    assert!(unfenced_now.contains(&Effect::SetTimer(LATER)));
    story.on(Event::Timeout(LATER));
    assert!(!story.on(beat(unfenced())).contains(&Effect::Serve));
}

#[test]
fn unfenced_before_it_has_replayed_its_registration_it_serves_nobody_yet() {
    let mut story = Story::recovering();
    assert!(!story.on(beat(unfenced())).contains(&Effect::Serve), "which logs are its own?");
    assert_eq!(story.0.state(), State::Recovering);
    let replayed = story.on(Event::Metadata { end: Offset(42), fenced: Some(false) });
    assert_eq!(replayed, [Effect::Serve]);
}

#[test]
fn a_running_broker_that_sees_itself_fenced_beats_at_once() {
    let mut story = Story::running();
    let fenced_now = Event::Metadata { end: Offset(50), fenced: Some(true) };
    assert!(heartbeat(&story.on(fenced_now)).is_some());
    story.on(beat(fenced()));
    let still_fenced = Event::Metadata { end: Offset(51), fenced: Some(true) };
    assert_eq!(heartbeat(&story.on(still_fenced)), None, "once is enough");
}

#[test]
fn a_new_controller_hears_of_it_at_once_and_the_old_ones_answer_is_void() {
    let mut story = Story::running();
    story.on(Event::Timeout(LATER));
    let moved = story.on(Event::Controller(Some(NodeId(2))));
    assert!(heartbeat(&moved).is_some());
    assert!(moved.contains(&Effect::CancelTimer(Timer::Answer)));
    story.on(Event::Controller(None));
    assert_eq!(story.on(beat(unfenced())), []);
}

#[test]
fn a_void_registration_is_renewed() {
    for error in [ErrorCode::StaleBrokerEpoch, ErrorCode::BrokerIdNotRegistered] {
        let mut story = Story::running();
        story.on(Event::Timeout(LATER));
        let stale = story.on(Event::HeartbeatAnswered(Some(Err(error))));
        assert!(stale.contains(&Effect::Register));
        assert_eq!(story.0.state(), State::Starting);
        let renewed = story.on(Event::Registered(Some(Ok(BrokerEpoch(90)))));
        assert_eq!(heartbeat(&renewed).map(|beat| beat.epoch), Some(BrokerEpoch(90)));
    }
}

#[test]
fn the_session_of_an_earlier_run_is_waited_out_but_not_for_ever() {
    let mut story = Story::registering();
    let duplicate = Event::Registered(Some(Err(ErrorCode::DuplicateBrokerRegistration)));
    let refused = Effect::Refused(ErrorCode::DuplicateBrokerRegistration);
    let mut attempts = 0;
    while !story.on(duplicate.clone()).contains(&refused) {
        assert!(story.on(Event::Timeout(Timer::Retry)).contains(&Effect::Register));
        attempts += 1;
        assert!(attempts < 100, "it never gives up");
    }
    assert_eq!(attempts, 60, "three times the default session, by half seconds");
    assert_eq!(story.0.state(), State::Stopped);
}

#[test]
fn a_registration_that_can_never_succeed_ends_the_process() {
    let mut story = Story::registering();
    let error = ErrorCode::InconsistentClusterId;
    let refused = story.on(Event::Registered(Some(Err(error))));
    assert_eq!(refused.last(), Some(&Effect::Refused(error)));
    assert_eq!(story.on(Event::Timeout(Timer::Retry)), []);
}

#[test]
fn a_registration_that_is_refused_for_now_is_tried_again() {
    let mut story = Story::registering();
    let refused = story.on(Event::Registered(Some(Err(ErrorCode::NotController))));
    assert_eq!(refused.last(), Some(&Effect::SetTimer(Timer::Retry)));
    assert_eq!(story.0.state(), State::Starting);
    assert!(story.on(Event::Timeout(Timer::Retry)).contains(&Effect::Register));
}

#[test]
fn its_epoch_is_that_of_the_registration_in_force() {
    assert_eq!(Story::registering().0.epoch(), None);
    let mut story = Story::running();
    assert_eq!(story.0.epoch(), Some(EPOCH));
    story.on(Event::Timeout(LATER));
    story.on(Event::HeartbeatAnswered(Some(Err(ErrorCode::StaleBrokerEpoch))));
    assert_eq!(story.0.epoch(), None);
}

#[test]
fn a_timer_that_was_cancelled_changes_nothing() {
    let mut story = Story::running();
    assert_eq!(story.on(Event::Timeout(SOON)), [], "it waits for the later one");
    assert_eq!(story.on(Event::Timeout(Timer::Shutdown)), [], "nobody asked it to stop");
    assert_eq!(story.0.state(), State::Running);
}

#[test]
fn a_stop_waits_until_the_leaders_have_moved() {
    let mut story = Story::running();
    let stopping = story.on(Event::Stop);
    assert!(stopping.contains(&Effect::SetTimer(Timer::Shutdown)));
    assert!(heartbeat(&stopping).is_some_and(|beat| beat.want_shutdown));
    assert_eq!(story.0.state(), State::ControlledShutdown);
    assert!(story.on(beat(unfenced())).contains(&Effect::SetTimer(SOON)));
    story.on(Event::Timeout(SOON));
    let granted = story.on(beat(HeartbeatReply { should_shut_down: true, ..unfenced() }));
    assert_eq!(granted.last(), Some(&Effect::Exit(EPOCH)));
    assert!(granted.contains(&Effect::CancelTimer(Timer::Shutdown)));
}

#[test]
fn a_stop_during_a_heartbeat_is_told_right_after_it() {
    let mut story = Story::running();
    story.on(Event::Timeout(LATER));
    assert_eq!(heartbeat(&story.on(Event::Stop)), None);
    assert!(heartbeat(&story.on(beat(unfenced()))).is_some_and(|beat| beat.want_shutdown));
}

#[test]
fn a_stop_that_nobody_grants_is_abandoned() {
    let mut story = Story::running();
    story.on(Event::Stop);
    let out_of_time = story.on(Event::Timeout(Timer::Shutdown));
    assert_eq!(out_of_time.last(), Some(&Effect::Abandon));
    let mut unregistered = Story::registering();
    assert_eq!(unregistered.on(Event::Stop).last(), Some(&Effect::Abandon));
}

#[test]
fn a_broker_whose_disk_failed_asks_to_be_fenced() {
    let mut story = Story::running();
    assert!(heartbeat(&story.on(Event::StorageFailed)).is_some_and(|beat| beat.want_fence));
    assert!(story.on(beat(fenced())).contains(&Effect::SetTimer(LATER)), "and is in no hurry back");
    story.on(Event::Stop);
    assert!(story.on(beat(fenced())).contains(&Effect::SetTimer(SOON)), "but in one to stop");
}

#[test]
fn who_wants_out_is_in_no_hurry_to_be_let_in() {
    for (leaves, next) in [(Event::Stop, SOON), (Event::StorageFailed, LATER)] {
        let mut story = Story::recovering();
        story.on(leaves);
        assert!(heartbeat(&story.on(beat(fenced()))).is_some(), "this it tells at once");
        story.on(Event::Metadata { end: Offset(41), fenced: Some(true) });
        let caught_up = story.on(beat(fenced()));
        assert_eq!(heartbeat(&caught_up), None);
        assert!(caught_up.contains(&Effect::SetTimer(next)));
    }
}
