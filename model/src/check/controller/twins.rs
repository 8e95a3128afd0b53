//! Every promise of the controller beside its twin: see [`crate::check::twin`].
//!
//! A state names the promise that the last step broke first. It keeps the name until another is
//! broken, so that a promise which is judged alone is reached past the breach of others.

use std::collections::BTreeSet;
use std::sync::Arc;

use stateright::Model;

use super::act::Turn;
use super::config::{ControllerModel, NOTHING};
use super::hunts::{FENCES, MOVE, TWO_FENCES, aim, lagging, move_to};
use super::judge::{self, Asking, Verdict};
use super::state::{Left, State};
use super::{Action, UNBROKEN};
use crate::check::Mutated;
use crate::check::twin::{Judge, assert_sees, assert_sees_in, condemns, promises_of, unseen};
use crate::invariant::metadata::tests::{
    broken_images, broken_partitions, broken_progress, image, sound,
};
use crate::invariant::metadata::{IMAGE, PARTITION, PROGRESS};
use crate::metadata::{Controller, Effects, Event, Partition};
use crate::{Epoch, Guard};

fn without(guard: Guard, model: ControllerModel) -> ControllerModel {
    ControllerModel { rules: Mutated(Some(guard)), ..model }
}

/// A controller takes what it has appended for committed when its leadership is gone.
fn keeps_its_overlay() -> ControllerModel {
    without(Guard::KeepOverlay, lagging(Left { failovers: 1, ..FENCES }))
}

/// A second broker is fenced along with the one whose session has run out.
fn fences_two() -> ControllerModel {
    without(Guard::FenceTwoAtOnce, aim(FENCES))
}

/// A topic is created under a name that is taken.
fn takes_a_name_twice() -> ControllerModel {
    without(Guard::TopicNameTwice, aim(Left { deletions: 1, ..NOTHING }))
}

/// An ISR of before a fencing is granted after it.
fn grants_the_past() -> ControllerModel {
    without(Guard::SkipPartitionEpoch, aim(Left { proposals: 1, ..TWO_FENCES }))
}

/// What a machine that leads on takes for committed is the fold of the same records, with no guard in
/// between; and one that loses its leadership is judged by what it reverts to first.
#[test]
fn an_image_that_is_not_the_fold_of_its_records_is_seen() {
    let model = aim(NOTHING);
    let before = model.initial();
    let mut turn = Turn::new(&model, &before);
    turn.run(Event::LostLeadership);
    let mut image = before.committed().clone();
    image.next_producer_id += 1;
    turn.run(Event::Loaded(Box::new(image)));
    assert_sees_in(&model, &turn.finish(&before), judge::FOLD);
}

/// A name that leads to a topic of another name is in no record of a snapshot.
#[test]
fn a_snapshot_that_lacks_something_is_seen() {
    let model = aim(Left { failovers: 1, ..NOTHING });
    let fail_over = |before: &State| {
        let action = Action::Failover { kept: 0, same: false };
        model.next_state(before, action).expect("another controller")
    };
    let mut state = model.initial();
    assert_eq!(fail_over(&state).broken, None);
    state.machine.change(lead_with_a_name_too_many);
    assert_sees_in(&model, &fail_over(&state), judge::SNAPSHOT);
}

fn lead_with_a_name_too_many(machine: &mut Controller<Mutated>) {
    let mut image = machine.committed().clone();
    let topic = *image.topics.keys().next().expect("a topic");
    image.topic_ids.insert(Arc::from("another name"), topic);
    let next = image.end;
    let lead = Event::Lead { epoch: Epoch(1), next };
    for event in [Event::LostLeadership, Event::Loaded(Box::new(image)), lead] {
        machine.step(event, &mut Effects::new());
    }
}

#[test]
fn what_is_left_of_a_lost_leadership_is_seen() {
    assert_sees(keeps_its_overlay(), judge::REVERTS);
}

#[test]
fn an_answer_that_is_out_too_early_is_seen() {
    let model = lagging(Left { producers: 1, ..NOTHING });
    assert_sees(without(Guard::ReplyBeforeCommit, model), judge::RELEASED);
}

#[test]
fn a_record_that_does_not_fit_is_seen() {
    assert_sees(takes_a_name_twice(), judge::UNBROKEN);
}

#[test]
fn an_election_of_who_holds_nothing_is_seen() {
    assert_sees(without(Guard::ElectAnyReplica, aim(TWO_FENCES)), judge::ELECTED);
}

#[test]
fn a_reassignment_that_finishes_with_too_few_is_seen() {
    let model = move_to(&[(0, &[3, 2])], Left { fences: 1, ..MOVE });
    assert_sees(without(Guard::ReassignBelowMinIsr, model), judge::FINISHED);
}

/// A record has no word for another step of the epoch: it is the fold that takes it.
#[test]
fn a_record_that_leaps_over_an_epoch_is_seen() {
    let (was, next) = (sound(), sound().partition_epoch.next());
    let is = |partition_epoch| Partition { partition_epoch, ..sound() };
    assert_eq!(judge::judge_record(&was, Some(&is(next))), Ok(()));
    assert_sees_verdict(judge::judge_record(&was, Some(&is(next.next()))), judge::NEXT_EPOCH);
    assert_sees_verdict(judge::judge_record(&was, None), judge::NEXT_EPOCH);
}

fn assert_sees_verdict(verdict: Verdict, promise: &'static str) {
    assert_eq!(verdict, Err(promise));
}

#[test]
fn a_block_that_is_handed_out_twice_is_seen() {
    let model = aim(Left { producers: 2, ..NOTHING });
    assert_sees(without(Guard::ProducerIdsUnrecorded, model), judge::BLOCKS);
}

#[test]
fn a_leader_that_is_told_to_stop_is_seen() {
    let model = aim(Left { shutdowns: 1, ..NOTHING });
    assert_sees(without(Guard::StopWhileLeading, model), judge::STOPS);
}

#[test]
fn a_leader_that_lacks_a_record_is_seen() {
    assert_sees(fences_two(), judge::LOST);
}

#[test]
fn a_member_that_lacks_a_record_is_seen() {
    assert_sees(grants_the_past(), judge::HOLDS);
}

#[test]
fn whatever_is_wrong_with_the_metadata_after_a_decision_is_named() {
    let before = image(sound());
    let judged = |after| judge::judge_decision(&before, &after, &Asking::default());
    let partitions = PARTITION.iter().zip(broken_partitions());
    let partitions = partitions.map(|(&(name, _), it)| (name, judged(image(it))));
    // That every partition is sound by itself never comes to be named here: what it is made of is.
    let images = IMAGE.iter().zip(broken_images()).skip(1);
    let images = images.map(|(&(name, _), it)| (name, judged(it)));
    let progress = PROGRESS.iter().zip(broken_progress()).map(|(&(name, _), (before, after))| {
        (name, judge::judge_decision(&before, &after, &Asking::default()))
    });
    for (name, verdict) in partitions.chain(images).chain(progress) {
        assert_sees_verdict(verdict, name);
    }
}

#[test]
fn a_state_that_names_a_broken_promise_breaks_that_one_and_no_other() {
    let model = aim(NOTHING);
    let sound = model.initial();
    for (at, name) in (0..).zip(judge::promises()) {
        let state = State { broken: Some(at), ..sound.clone() };
        assert_sees_in(&model, &state, name);
        let kept = (0..).zip(UNBROKEN).filter(|(_, holds)| holds(&model, &state));
        assert!(kept.map(|(other, _)| other).eq((0..UNBROKEN.len() as u8).filter(|&it| it != at)));
    }
}

/// Whether a controller goes by what is committed, asked of its own idea of it.
fn reverts_to_its_own_image(_: &ControllerModel, state: &State) -> bool {
    !state.tail.is_empty() || state.machine.latest() == state.machine.committed()
}

#[test]
fn a_controller_that_is_compared_with_itself_is_right() {
    assert!(condemns(keeps_its_overlay(), Judge::Promise(judge::REVERTS)));
    assert!(!condemns(keeps_its_overlay(), Judge::Twin(reverts_to_its_own_image)));
}

#[test]
fn a_fingerprint_without_the_data_hides_their_loss() {
    let nobody_holds = |state: &State| State { data: Default::default(), ..state.clone() };
    assert!(condemns(fences_two(), Judge::Promise(judge::LOST)));
    assert!(!condemns(fences_two(), Judge::Forgetful(judge::LOST, nobody_holds)));
}

#[test]
fn a_fingerprint_without_what_is_broken_hides_that_it_is() {
    let nothing_is_broken = |state: &State| State { broken: None, ..state.clone() };
    let model = takes_a_name_twice;
    assert!(condemns(model(), Judge::Promise(judge::UNBROKEN)));
    assert!(!condemns(model(), Judge::Forgetful(judge::UNBROKEN, nothing_is_broken)));
}

#[test]
fn every_promise_has_a_twin_here() {
    let own = judge::OWN.iter().map(|&(name, _)| name);
    let unseen = unseen(own, include_str!("judge.rs"), include_str!("twins.rs"));
    assert!(unseen.is_empty(), "{unseen:?} have no twin");
    assert_eq!(PARTITION.len(), broken_partitions().len());
    assert_eq!(IMAGE.len(), broken_images().len());
    assert_eq!(PROGRESS.len(), broken_progress().len());
    // A name that two promises shared would be told of the first.
    let names: BTreeSet<_> = judge::promises().collect();
    assert_eq!(names.len(), judge::promises().count());
    assert!(promises_of(&aim(NOTHING)).eq(judge::promises()));
}
