//! Steps of the model as sentences.

use std::fmt::Write;

use crate::metadata::{Image, Record};

use super::config::ClusterModel;
use super::quorum::To;
use super::state::{Alteration, BROKERS, Broker, Call, State, node, partition};
use super::{
    ACKNOWLEDGED, AGREE, Action, COMPLETE, COUNTED, DECIDED, KEPT, METADATA, ONCE, SAME, STANDS,
};

/// What happened, then one line for each part of the world that changed.
pub(super) fn step(model: &ClusterModel, before: &State, action: Action, after: &State) -> String {
    let mut text = sentence(model, before, action);
    for index in 0..BROKERS {
        let (was, is) = (broker(before, index), broker(after, index));
        if was != is {
            let _ = write!(text, "\nbroker {index}: {was} -> {is}");
        }
        let (was, is) = (alteration(before, index), alteration(after, index));
        if was != is {
            let _ = write!(text, "\nAlterPartition of broker {index}: {was} -> {is}");
        }
    }
    let (was, is) = (image(before.quorum.newest()), image(after.quorum.newest()));
    if was != is {
        let _ = write!(text, "\ncommitted: {was} -> {is}");
    }
    if before.quorum.pending != after.quorum.pending {
        let _ = write!(text, "\nnot committed: {}", pending(after));
    }
    if before.history.acknowledged != after.history.acknowledged {
        text.push_str("\nthe client has its acknowledgement");
    }
    for broken in [after.history.metadata, after.history.violation].into_iter().flatten() {
        let _ = write!(text, "\nnot so: {broken}");
    }
    text
}

fn sentence(model: &ClusterModel, state: &State, action: Action) -> String {
    match action {
        Action::Append { leader } => format!("a client sends a record to broker {leader}"),
        Action::Resend { leader } => {
            format!("the producer sends its last record again, to broker {leader}")
        }
        Action::Replay { broker } => format!("broker {broker} replays the next metadata"),
        Action::Fetch { follower, lost } => {
            let lost = if lost { ", and the answer is lost" } else { "" };
            format!("broker {follower} fetches from its leader{lost}")
        }
        Action::Silent { leader, follower } => {
            format!("broker {leader} finds broker {follower} silent")
        }
        Action::Decide { leader, to } => {
            format!("{} decides on the ISR that broker {leader} asks for", who(to))
        }
        Action::Learn { leader } => format!("broker {leader} hears the controller's decision"),
        Action::RetryAlter { leader } => format!("broker {leader} may ask for an ISR again"),
        Action::Repeat { leader } => {
            format!("the link of broker {leader} breaks, and its request is sent again")
        }
        Action::DecideLate => {
            "the first copy of a repeated request arrives at the controller".to_owned()
        }
        Action::Call { broker, to } => call(state, usize::from(broker), to),
        Action::Expire { broker } => {
            format!("the session of broker {broker} runs out: the controller fences it")
        }
        Action::Gone { broker } => {
            format!("the controller learns that the process of broker {broker} is gone")
        }
        Action::Commit => "the quorum commits a batch".to_owned(),
        Action::FailOver { kept, lingers } => {
            let unheard = if lingers { ", and the old one does not hear of it" } else { "" };
            format!("another controller takes over with {kept} of the batches{unheard}")
        }
        Action::Hear => "the deposed controller hears of its successor".to_owned(),
        Action::Configure => {
            format!("an operator sets min.insync.replicas to {}", model.next_min_isr(state))
        }
        Action::Reassign => {
            let done = usize::from(model.left.reassignments - state.left.reassignments);
            match model.targets[done] {
                Some(target) => format!("an operator moves the partition to {target:?}"),
                None => "an operator calls the move off".to_owned(),
            }
        }
        Action::Stop { broker } => format!("broker {broker} is told to stop"),
        Action::Kill { broker } => format!("the process of broker {broker} is killed"),
        Action::Crash { broker, kept } => {
            format!("broker {broker} loses power; {kept} unflushed records are on disk")
        }
        Action::Restart { broker } => format!("broker {broker} starts"),
    }
}

fn who(to: To) -> &'static str {
    match to {
        To::Active => "the controller",
        To::Deposed => "the deposed controller",
    }
}

fn call(state: &State, index: usize, to: To) -> String {
    let broker = &state.brokers[index];
    let registers = matches!(broker.call, Some(Call::Register))
        || (broker.call.is_none() && broker.lifecycle.epoch().is_none());
    if registers {
        format!("broker {index} registers with {}", who(to))
    } else if broker.lifecycle.wants_shutdown() {
        format!("broker {index} asks {} whether it may stop", who(to))
    } else {
        format!("broker {index} sends a heartbeat to {}", who(to))
    }
}

fn broker(state: &State, index: usize) -> String {
    let broker: &Broker = &state.brokers[index];
    let records = broker.disk.map_or("none".to_owned(), |log| {
        let record =
            |it: &crate::replica::small_log::SmallRecord| format!("{}@{}", it.value, it.epoch);
        format!("[{}]", log.records().iter().map(record).collect::<Vec<_>>().join(" "))
    });
    let life = match broker.stop {
        None => format!("{:?}", broker.lifecycle.state()),
        Some(_) => "down".to_owned(),
    };
    let Some(replica) = &broker.replica else { return format!("{life}, log {records}") };
    let role = match (replica.is_leader(), replica.is_follower()) {
        (true, _) => "leader",
        (_, true) => "follower",
        _ => "idle",
    };
    let isr = if replica.is_leader() { format!(" isr {:?}", replica.isr()) } else { String::new() };
    format!(
        "{life}, {role} epoch {}{isr} hw {} log {records}",
        replica.leader_epoch(),
        replica.high_watermark(),
    )
}

fn alteration(state: &State, index: usize) -> String {
    match state.alters[index].as_deref() {
        None => "none".to_owned(),
        Some(Alteration::Asked { asked, .. }) => {
            format!("{:?} asked for at {}/{}", asked.isr, asked.leader_epoch, asked.partition_epoch)
        }
        Some(Alteration::Held { asked, .. }) => format!("{:?} decided on", asked.isr),
        Some(Alteration::Answered { asked, answer }) => match answer {
            Err(error) => format!("refused, {error}"),
            Ok(()) => format!("{:?} granted", asked.isr),
        },
    }
}

fn image(image: &Image) -> String {
    let partition = partition(image);
    let standing = |index: usize| match image.broker(node(index)) {
        None => "unregistered".to_owned(),
        Some(broker) => {
            let flag = match (broker.fenced, broker.in_controlled_shutdown) {
                (true, _) => " fenced",
                (_, true) => " stopping",
                _ => "",
            };
            format!("{}{flag}", broker.epoch)
        }
    };
    let brokers: Vec<_> = (0..BROKERS).map(standing).collect();
    let leader = partition.leader.map_or("none".to_owned(), |leader| leader.to_string());
    let mut text = format!(
        "leader {leader} epoch {}/{} replicas {:?} isr {:?}",
        partition.leader_epoch, partition.partition_epoch, partition.replicas, partition.isr
    );
    for (name, nodes) in [
        ("elr", &partition.elr),
        ("adding", &partition.adding),
        ("removing", &partition.removing),
        ("last known", &partition.last_known_elr),
    ] {
        if !nodes.is_empty() {
            let _ = write!(text, " {name} {nodes:?}");
        }
    }
    format!("{text} brokers [{}]", brokers.join(", "))
}

fn pending(state: &State) -> String {
    let name = |record: &Record| match record {
        Record::PartitionChange(change) => {
            let mut text = "the partition changes".to_owned();
            if let Some(isr) = change.isr {
                let _ = write!(text, ", isr {isr:?}");
            }
            if let Some(leader) = change.leader {
                let leader = leader.map_or("none".to_owned(), |leader| leader.to_string());
                let _ = write!(text, ", leader {leader}");
            }
            text
        }
        Record::RegisterBroker(it) => format!("broker {} is registered", it.broker),
        Record::BrokerRegistrationChange(it) => {
            let what = match (it.fenced, it.in_controlled_shutdown) {
                (Some(true), _) => "fenced",
                (Some(false), _) => "unfenced",
                (None, _) => "stopping",
            };
            format!("broker {} is {what}", it.broker)
        }
        _ => "something else".to_owned(),
    };
    let batches = state.quorum.pending.iter();
    let text: Vec<_> = batches
        .map(|batch| batch.records.iter().map(name).collect::<Vec<_>>().join("; "))
        .collect();
    if text.is_empty() { "nothing".to_owned() } else { text.join(" | ") }
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
        METADATA => "K4, B1 to B5, P2 to P7: what every prefix of the metadata log must mean",
        COUNTED => {
            "L2, L3: the high watermark waits for the maximal ISR: the one in force and the one \
             that was asked for"
        }
        DECIDED => {
            "L3, K3: a leader that takes an answer to another question, or to nothing that is \
             committed, for the answer to its own waits for ever"
        }
        STANDS => "L2: the high watermark of a leader never falls",
        ONCE => "I3: sequences have no gaps, and a repeated one is answered and not appended",
        KEPT => "K1, K2, K4: machines check what they rely on, and stop when it is not so",
        _ => "",
    }
}
