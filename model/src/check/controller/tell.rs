//! Steps of the model as sentences.

use std::fmt::Write;

use crate::NodeId;
use crate::metadata::{Broker, Image, Partition};

use super::config::ControllerModel;
use super::list::Action;
use super::state::{BROKERS, Proposal, State, Stop, node};

/// What happened, then one line for each part of the world that changed.
pub(super) fn step(
    model: &ControllerModel,
    before: &State,
    action: Action,
    after: &State,
) -> String {
    let mut text = sentence(model, before, action);
    for broker in 0..BROKERS {
        let at = |state: &State| standing(state, broker);
        let (was, is) = (at(before), at(after));
        if was != is {
            let _ = write!(text, "\nbroker {}: {was} -> {is}", broker + 1);
        }
    }
    let changed = |was: &Image, is: &Image, note: &str, text: &mut String| {
        for at in 0..model.partitions() {
            let told = |image| model.partition(image, at).map_or_else(gone, partition);
            let (was, is) = (told(was), told(is));
            if was != is {
                let name = partition_name(model, at);
                let _ = write!(text, "\n{name}{note}: {was}\n  -> {is}");
            }
        }
    };
    let (was, is) = (before.machine.latest(), after.machine.latest());
    let note = if after.tail.is_empty() { "" } else { " (appended)" };
    changed(was, is, note, &mut text);
    if !before.tail.is_empty() {
        changed(before.committed(), after.committed(), " (committed)", &mut text);
    }
    for at in 0..model.partitions() {
        let (was, is) = (before.data[at].holders(), after.data[at].holders());
        if was != is {
            let name = partition_name(model, at);
            let _ = write!(text, "\nacknowledged records of {name} are on {was:?} -> {is:?}");
        }
    }
    if after.proposals.len() < before.proposals.len() {
        text.push_str("\nthe leader has its answer");
    }
    text
}

fn gone() -> String {
    "none".to_owned()
}

fn sentence(model: &ControllerModel, state: &State, action: Action) -> String {
    let name = |broker: u8| format!("broker {}", broker + 1);
    let partition = |at: u8| partition_name(model, usize::from(at));
    match action {
        Action::Register { broker } if state.processes[usize::from(broker)].up => {
            format!("{} registers", name(broker))
        }
        Action::Register { broker } => format!("{} starts and registers", name(broker)),
        Action::Reregister { broker } => format!("{} registers again, unasked", name(broker)),
        Action::Beat { broker } => format!("the controller hears from {}", name(broker)),
        Action::EarlyBeat { broker } => format!(
            "the controller hears from {}, which has not replayed its registration",
            name(broker)
        ),
        Action::WantStop { broker } => format!("{} asks to be shut down", name(broker)),
        Action::Expire { broker } => format!("the session of {} times out", name(broker)),
        Action::Gone { broker } => format!("the process of {} is said to be gone", name(broker)),
        Action::Close { broker } => format!("the link to {} closes", name(broker)),
        Action::Reconnect { broker } => format!("the link to {} stands again", name(broker)),
        Action::WindowEnds => "the second in which links closed is over".to_owned(),
        Action::TrustAgain { broker } => {
            format!("what is said of {} is believed again", name(broker))
        }
        Action::Stop { broker, how } => format!("{} {}", name(broker), stop(how)),
        Action::Unregister { broker } => format!("an operator unregisters {}", name(broker)),
        Action::Join { partition: at, broker } => format!(
            "the leader of {} finds {} in sync and asks for it to join the ISR",
            partition(at),
            name(broker)
        ),
        Action::Drop { partition: at, broker } => format!(
            "the leader of {} finds {} silent and asks for it to leave the ISR",
            partition(at),
            name(broker)
        ),
        Action::Recover { partition: at } => {
            format!("the leader of {} says that it has recovered", partition(at))
        }
        Action::Decide { at } => {
            let Proposal { partition: of, sender, isr, .. } = state.proposals[usize::from(at)];
            format!(
                "the controller decides on the ISR {isr:?} that {} asked for, for {}",
                name(sender),
                partition(of)
            )
        }
        Action::AskProducerIds { broker } => format!("{} asks for producer ids", name(broker)),
        Action::Commit => "the quorum commits the next batch".to_owned(),
        Action::Failover { kept, same } => {
            let who =
                if same { "the same controller leads again" } else { "the other controller leads" };
            format!("leadership is lost, {kept} uncommitted batches survive, {who}")
        }
        asked => operator(model, asked),
    }
}

/// What operators ask for, and what the controller does by the clock.
fn operator(model: &ControllerModel, action: Action) -> String {
    let partition = |at: u8| partition_name(model, usize::from(at));
    match action {
        Action::Prefer { partition: at } => {
            format!("an operator asks for the preferred leader of {}", partition(at))
        }
        Action::ElectUncleanly { partition: at } => {
            format!("an operator asks for an unclean election of {}", partition(at))
        }
        Action::Balance => "the controller gives leadership back to preferred replicas".to_owned(),
        Action::Sweep => "the controller looks for partitions without a leader".to_owned(),
        Action::Reassign { target } => {
            let (at, to) = model.targets[usize::from(target)];
            format!("an operator moves {} to {to:?}", partition(at))
        }
        Action::Cancel { partition: at } => {
            format!("an operator calls the move of {} off", partition(at))
        }
        Action::Create { topic } => {
            format!("topic {} is created", ControllerModel::topic_name(usize::from(topic)))
        }
        Action::Delete { topic } => {
            format!("topic {} is deleted", ControllerModel::topic_name(usize::from(topic)))
        }
        Action::SetMinIsr { to } => {
            let (topic, value) = (ControllerModel::topic_name(0), model.min_isrs[usize::from(to)]);
            format!("min.insync.replicas of {topic} is set to {value}")
        }
        other => format!("{other:?}"),
    }
}

fn stop(how: Stop) -> &'static str {
    match how {
        Stop::Clean => "stops with its log whole",
        Stop::Lucky => "goes down with its machine, and happens to lose nothing",
        Stop::Lossy => "loses power, and what it had not flushed",
        Stop::NewDisk => "dies with its disk",
    }
}

fn partition_name(model: &ControllerModel, at: usize) -> String {
    let (topic, number) = model.place(at);
    format!("{}-{number}", ControllerModel::topic_name(topic))
}

fn standing(state: &State, broker: usize) -> String {
    let process = if state.processes[broker].up { "" } else { ", process down" };
    let registered = state.machine.latest().broker(node(broker));
    let registered = match registered {
        None => "not registered",
        Some(Broker { fenced: true, .. }) => "fenced",
        Some(Broker { in_controlled_shutdown: true, .. }) => "stopping",
        Some(_) => "active",
    };
    format!("{registered}{process}")
}

fn partition(partition: &Partition) -> String {
    let Partition { replicas, isr, elr, last_known_elr, removing, adding, .. } = partition;
    let leader = partition.leader.map_or("none".to_owned(), |NodeId(leader)| leader.to_string());
    let mut text = format!("leader {leader}, replicas {replicas:?}, ISR {isr:?}");
    let lists =
        [("ELR", elr), ("last known", last_known_elr), ("adding", adding), ("removing", removing)];
    for (name, nodes) in lists.iter().filter(|(_, nodes)| !nodes.is_empty()) {
        let _ = write!(text, ", {name} {nodes:?}");
    }
    if partition.recovering {
        text.push_str(", recovering");
    }
    text
}
