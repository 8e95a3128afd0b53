//! All recordings as one numbered story, with words for its entries.

use kraft_model::replay::{Machine, Merged, Recorded, Replay, Replayed, RunError, What};
use kraft_model::{NodeId, Shipped};

/// The entries in the order of time, numbered from 1.
#[derive(Clone)]
pub struct Story {
    merged: Merged,
    position: u64,
    /// The time of the first entry.
    began: Option<u64>,
}

/// An entry with its place in the story.
#[derive(Clone)]
pub struct Placed {
    pub position: u64,
    /// Nanoseconds since the first entry.
    pub since: u64,
    pub entry: Replayed,
}

impl Story {
    pub fn new(recordings: &[Recorded]) -> Story {
        Story { merged: Merged::new(recordings.to_vec()), position: 0, began: None }
    }

    /// Entries that were run.
    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn merged(&self) -> &Merged {
        &self.merged
    }
}

impl Iterator for Story {
    type Item = Result<Placed, RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.merged.next()?;
        Some(next.map(|entry| {
            self.position += 1;
            let began = *self.began.get_or_insert(entry.at);
            Placed { position: self.position, since: entry.at.saturating_sub(began), entry }
        }))
    }
}

impl Placed {
    /// `4/orders-0`.
    pub fn machine(&self) -> String {
        format!("{}/{}", self.entry.node, self.entry.after.name(self.entry.id))
    }

    pub fn event(&self) -> String {
        match &self.entry.what {
            What::Began(_) => "Began".to_owned(),
            What::Stepped { input, .. } => input.to_string(),
            What::LogFailed { input } => format!("{input}: its log failed"),
        }
    }

    /// All of the event, one field a line.
    pub fn event_in_full(&self) -> String {
        match &self.entry.what {
            What::Began(start) => format!("{start:#?}"),
            What::Stepped { input, .. } | What::LogFailed { input } => format!("{input:#?}"),
        }
    }

    /// One line for each effect.
    pub fn effects(&self) -> Vec<String> {
        match &self.entry.what {
            What::Stepped { output, .. } => output.lines(),
            What::Began(_) | What::LogFailed { .. } => Vec::new(),
        }
    }

    /// The machine before the entry, if it had begun.
    pub fn before(&self, recordings: &[Recorded]) -> Option<Machine<Shipped>> {
        let Replayed { incarnation, thread, entry, id, .. } = &self.entry;
        let header = |it: &&Recorded| {
            (it.header.incarnation, &*it.header.thread) == (*incarnation, &**thread)
        };
        let mut replay = Replay::new(recordings.iter().find(header)?.clone());
        while replay.done() + 1 < *entry {
            replay.advance().ok()??;
        }
        replay.machine(*id)
    }

    /// `     12  +1.204517 s  4/orders-0  Append { .. }`.
    pub fn line(&self) -> String {
        let seconds = self.since as f64 / 1e9;
        let (position, machine, event) = (self.position, self.machine(), self.event());
        let mark = if self.divergence().is_some() { "  DIVERGES" } else { "" };
        format!("{position:>7}  {seconds:>11.6} s  {machine:<16}  {event}{mark}")
    }

    pub fn divergence(&self) -> Option<String> {
        match &self.entry.what {
            What::Stepped { divergence, .. } => divergence.as_ref().map(ToString::to_string),
            What::Began(_) | What::LogFailed { .. } => None,
        }
    }
}

/// Some machines of some nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    node: NodeId,
    machine: Option<String>,
}

impl Filter {
    /// `NODE` or `NODE/MACHINE`.
    pub fn parse(text: &str) -> Result<Filter, String> {
        let (node, machine) = match text.split_once('/') {
            Some((node, machine)) => (node, Some(machine.to_owned())),
            None => (text, None),
        };
        let node = node.trim().parse().map(NodeId);
        let node = node.map_err(|_| format!("'{text}' is neither NODE nor NODE/MACHINE"))?;
        Ok(Filter { node, machine })
    }

    pub fn admits(&self, placed: &Placed) -> bool {
        let Replayed { node, id, after, .. } = &placed.entry;
        let of_machine = |wanted: &String| after.name(*id) == *wanted;
        self.node == *node && self.machine.as_ref().is_none_or(of_machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_a_node_or_one_of_its_machines() {
        let one = Filter::parse("4/orders-0").expect("a machine");
        assert_eq!(one, Filter { node: NodeId(4), machine: Some("orders-0".to_owned()) });
        assert_eq!(Filter::parse("4"), Ok(Filter { node: NodeId(4), machine: None }));
        assert!(Filter::parse("orders-0").is_err());
    }
}
