//! What must be known of the whole story before any line of it can be told: who voted at some time,
//! which records of the log are Voters records, and which directories there were.

use std::collections::{BTreeMap, BTreeSet};

use kraft_model::raft::{Event, Quorum, VoterChange, VotersRecord};
use kraft_model::replay::{
    Extents, Input, LogState, Machine, Merged, Recorded, Replayed, Start, What,
};
use kraft_model::{DirectoryId, NodeId, Offset, ReplicaKey, Shipped};

use super::set;

/// One entry of one node, with the machine after it.
pub struct Step {
    pub node: NodeId,
    pub entry: u64,
    pub what: What,
    pub machine: Quorum<Shipped>,
    pub log: LogState,
}

/// Everybody who took part, and what they did.
#[derive(Default)]
pub struct Story {
    pub nodes: BTreeSet<NodeId>,
    /// Who was a voter at some time.
    pub voted: BTreeSet<NodeId>,
    /// Some log says who votes (Q12).
    pub is_dynamic: bool,
    pub steps: Vec<Step>,
    /// The Voters records by offset and epoch, which two logs have in common only with all before.
    records: BTreeMap<(Offset, i32), Vec<ReplicaKey>>,
    /// Of each node, in the order in which they came up.
    directories: BTreeMap<NodeId, Vec<DirectoryId>>,
}

impl Story {
    pub fn of(recordings: Vec<Recorded>) -> Result<Story, String> {
        let mut story = Story::default();
        let mut ends = BTreeMap::new();
        for replayed in Merged::new(recordings) {
            let Replayed { node, entry, what, after, .. } =
                replayed.map_err(|error| error.to_string())?;
            let Machine::Quorum { machine, log } = after else { continue };
            let step = Step { node, entry, what, machine, log };
            let end = ends.insert(node, step.log.end).unwrap_or_default();
            story.note_voters(&step);
            story.note_record(&step, end);
            story.steps.push(step);
        }
        Ok(story)
    }

    fn note_voters(&mut self, step: &Step) {
        let machine = &step.machine;
        self.nodes.insert(step.node);
        self.nodes.extend(machine.voters().iter().map(|voter| voter.id));
        if machine.is_voter() {
            self.voted.insert(step.node);
        }
        self.is_dynamic |= machine.voters_at().is_some();
        self.note_directory(machine.me());
        machine.voters().iter().for_each(|&voter| self.note_directory(voter));
        if let What::Stepped { input: Input::Quorum(Event::ChangeVoters { change, .. }), .. } =
            &step.what
        {
            let (VoterChange::Add(key) | VoterChange::Remove(key) | VoterChange::Update(key)) =
                *change;
            self.note_directory(key);
        }
    }

    fn note_directory(&mut self, key: ReplicaKey) {
        let known = self.directories.entry(key.id).or_default();
        if !key.directory.is_zero() && !known.contains(&key.directory) {
            known.push(key.directory);
        }
    }

    /// A Voters record shows by the set that is in force once it is in a log, which ended at `end`
    /// before. Of several that come at once only the last one does; but whoever led wrote them one
    /// by one. A set that came with a snapshot stands where the snapshot ends, and is no record there.
    fn note_record(&mut self, step: &Step, end: Offset) {
        let What::Stepped { input: Input::Quorum(event), .. } = &step.what else { return };
        let Some(at) = step.machine.voters_at() else { return };
        if at < end || at >= step.log.end || matches!(event, Event::SnapshotInstalled(_)) {
            return;
        }
        if let Some(epoch) = step.log.epochs.epoch_at(at) {
            self.records.insert((at, epoch), step.machine.voters().to_vec());
        }
    }

    /// What a new disk was formatted with, or the configuration says.
    pub fn first_voters(&self, start: &Start) -> Result<String, String> {
        let Start::Quorum { voters, record, log, me, .. } = start else {
            return Err("another machine's beginning".to_owned());
        };
        match record {
            Some(VotersRecord { offset, voters }) if *offset == VotersRecord::BOOTSTRAP => {
                Ok(self.keys(voters))
            }
            None => Ok(self.keys(voters)),
            // Not a new one.
            _ if log.end > Offset::ZERO => Ok(self.keys(&[])),
            _ => Err(format!("node {} has voters and no log", me.id)),
        }
    }

    /// A node and its directory, by its place among those that it had; 0 for none, and in a static
    /// quorum, whose voters are known without.
    pub fn key(&self, key: ReplicaKey) -> String {
        let ReplicaKey { id, directory } = key;
        let known = self.directories.get(&id).filter(|_| self.is_dynamic);
        let place = known.and_then(|all| all.iter().position(|one| *one == directory));
        format!("<<{id}, {}>>", place.map_or(0, |place| place + 1))
    }

    pub fn keys(&self, keys: &[ReplicaKey]) -> String {
        set(keys.iter().map(|&key| self.key(key)))
    }

    /// The epoch of each record, and which of them say who votes.
    pub fn records(&self, records: &Extents) -> String {
        let each = records.batches.iter().flat_map(|batch| {
            let offsets = batch.base.0..batch.end.0;
            offsets.map(move |offset| (Offset(offset), batch.epoch.0))
        });
        let (mut epochs, mut sets) = (Vec::new(), Vec::new());
        for (place, (offset, epoch)) in (1..).zip(each) {
            epochs.push(epoch.to_string());
            if let Some(voters) = self.records.get(&(offset, epoch)) {
                sets.push(format!("<<{place}, {}>>", self.keys(voters)));
            }
        }
        format!("<<<<{}>>, {}>>", epochs.join(", "), set(sets))
    }
}
