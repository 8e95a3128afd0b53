//! Steps of the model as sentences.

use std::fmt::Write;

use super::state::{BROKERS, State};
use super::{ACKNOWLEDGED, ACTIVE, AGREE, Action, COMPLETE, FOLLOW, ONCE, SAME, STANDS};

/// What happened, then one line for each part of the world that changed.
pub(super) fn step(before: &State, action: Action, after: &State) -> String {
    let mut text = sentence(action);
    for index in 0..BROKERS {
        let (was, is) = (broker(before, index), broker(after, index));
        if was != is {
            let _ = write!(text, "\nbroker {index}: {was} -> {is}");
        }
    }
    let (was, is) = (controller(before), controller(after));
    if was != is {
        let _ = write!(text, "\ncontroller: {was} -> {is}");
    }
    if before.history.acknowledged != after.history.acknowledged {
        text.push_str("\nthe client has its acknowledgement");
    }
    text
}

fn sentence(action: Action) -> String {
    match action {
        Action::Append { leader } => format!("a client sends a record to broker {leader}"),
        Action::Resend { leader } => {
            format!("the producer sends its last record again, to broker {leader}")
        }
        Action::Replay { broker } => format!("broker {broker} replays the metadata"),
        Action::Fetch { follower, leader } => {
            format!("broker {follower} fetches from broker {leader}")
        }
        Action::Serve { follower, leader } => {
            format!("broker {leader} looks at the fetch of broker {follower}")
        }
        Action::Take { follower, leader } => {
            format!("broker {follower} gets the answer of broker {leader}")
        }
        Action::LoseFetch { follower, leader } => {
            format!("what broker {follower} and broker {leader} had under way is lost")
        }
        Action::Decide { leader } => {
            format!("the controller decides on the ISR that broker {leader} asks for")
        }
        Action::Learn { leader } => format!("broker {leader} hears the controller's decision"),
        Action::LoseAlter { leader } => {
            format!("what broker {leader} and the controller had under way is lost")
        }
        Action::RetryAlter { leader } => format!("broker {leader} may ask for an ISR again"),
        Action::Silent { leader, follower } => {
            format!("broker {leader} finds broker {follower} silent")
        }
        Action::Flush { broker } => format!("broker {broker}'s log is on disk"),
        Action::Fence { broker } => format!("the controller fences broker {broker}"),
        Action::Unfence { broker } => format!("the controller unfences broker {broker}"),
        Action::Stop { broker } => format!("broker {broker} stops in order"),
        Action::Crash { broker, kept } => {
            format!(
                "broker {broker} loses power; {kept} unflushed records are on disk all the same"
            )
        }
        Action::Restart { broker } => format!("broker {broker} starts and registers"),
    }
}

fn broker(state: &State, index: usize) -> String {
    let broker = &state.brokers[index];
    let replica = &broker.replica;
    let role = match (broker.is_up(), replica.is_leader(), replica.is_follower()) {
        (false, ..) => "down",
        (_, true, _) => "leader",
        (_, _, true) => "follower",
        _ => "idle",
    };
    let records: Vec<String> = broker
        .log
        .records()
        .iter()
        .map(|record| format!("{}@{}", record.value, record.epoch))
        .collect();
    format!(
        "{role} epoch {} isr {:?} hw {} log [{}]",
        replica.leader_epoch(),
        replica.isr(),
        replica.high_watermark(),
        records.join(" ")
    )
}

fn controller(state: &State) -> String {
    let partition = &state.controller.partition;
    let fenced: Vec<usize> =
        (0..BROKERS).filter(|&index| state.controller.registrations[index].fenced).collect();
    format!(
        "leader {:?} epoch {}/{} isr {:?} elr {:?} fenced {fenced:?}",
        partition.leader,
        partition.leader_epoch,
        partition.partition_epoch,
        partition.isr,
        partition.elr
    )
}

pub(super) fn rule(property: &str) -> &'static str {
    match property {
        ACKNOWLEDGED => {
            "L2, I5: acks=all means on every member of the largest ISR that may be in force, and \
             that ISR has at least min.insync.replicas members"
        }
        COMPLETE => "L1, L2, P6: whoever may be elected holds everything below the high watermark",
        SAME => "F2: consumers read below the high watermark, and what is below it does not change",
        AGREE => "L4: a follower truncates where its epochs part from the leader's, then appends",
        ACTIVE => "P3: a member of the ISR is registered, unfenced and not stopping",
        STANDS => "L2: the high watermark of a leader never falls",
        ONCE => "I3: sequences have no gaps, and a repeated one is answered and not appended",
        FOLLOW => "I1: producer state is a function of the log, also after a truncation",
        _ => "",
    }
}
