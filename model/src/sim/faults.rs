//! What can go wrong, by name: each kind can be switched off, and is counted when it happens.

use std::collections::BTreeSet;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)*];

            pub fn name(self) -> &'static str {
                match self { $(Fault::$name => $text,)* }
            }
        }
    };
}

faults! {
    /// The process ends at once; what the page cache holds survives.
    Kill = "kill",
    /// The machine loses power: of what was not flushed, any prefix is left.
    PowerLoss = "power-loss",
    /// Every machine loses power at the same time.
    Blackout = "blackout",
    /// The end of a log that a power loss left is half a batch, and is cut off.
    TornTail = "torn-tail",
    /// A process ends just after it did something that it may forget: voted, led, appended.
    Ambush = "ambush",
    /// SIGTERM: a controlled shutdown.
    Shutdown = "shutdown",
    /// SIGSTOP: the process stands still, its connections stay.
    Pause = "pause",
    /// One node reaches no other.
    Isolate = "isolate",
    /// Nothing gets through from one node to another, but back.
    OneWay = "one-way",
    /// The nodes fall in two groups.
    Halves = "halves",
    /// Each node reaches only its neighbours on a ring.
    Ring = "ring",
    /// A connection breaks; what was under way is lost.
    LinkBreak = "link-break",
    /// A message is lost.
    Loss = "loss",
    /// A message arrives twice.
    Duplicate = "duplicate",
    /// A message overtakes others.
    Reorder = "reorder",
    /// A message takes long.
    Delay = "delay",
    /// A node is taken for dead that is not.
    FalseGone = "false-gone",
    /// The disk does not take a write or an fsync.
    WriteError = "write-error",
    /// A disk is full; appends to data fail.
    DiskFull = "disk-full",
    /// A bit of a metadata log turned; a CRC tells at the next start.
    RottenMetadata = "rotten-metadata",
    /// A bit of a data log turned; a CRC tells at the next start.
    RottenData = "rotten-data",
    /// A disk is replaced by an empty one.
    Wipe = "wipe",
    /// A disk takes long.
    SlowDisk = "slow-disk",
    /// A copy of a leader's request for another ISR arrives long after the first.
    LateCopy = "late-copy",
    /// A clock runs fast or slow.
    Drift = "drift",
    /// A broker's shards hear of new metadata late.
    MetadataLag = "metadata-lag",
    /// An administrator unregisters a broker.
    Unregister = "unregistered",
    /// An observer becomes a voter; counted, as the next three, once it is committed.
    AddVoter = "voter-added",
    /// A voter that does not lead is a voter no longer.
    RemoveVoter = "voter-removed",
    /// A leader removes itself from the voters.
    RemoveLeader = "leader-removed",
    /// A voter is said to be reached elsewhere: the same set again.
    UpdateVoter = "voter-updated",
}

impl Fault {
    /// The kind with this name.
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.iter().copied().find(|fault| fault.name() == name)
    }

    /// The kinds that strike at a moment of their own, as opposed to those that lie in each message
    /// or write.
    pub(super) const STRIKES: &'static [Fault] = &[
        Fault::Kill,
        Fault::PowerLoss,
        Fault::Blackout,
        Fault::Shutdown,
        Fault::Pause,
        Fault::Isolate,
        Fault::OneWay,
        Fault::Halves,
        Fault::Ring,
        Fault::LinkBreak,
        Fault::FalseGone,
        Fault::WriteError,
        Fault::DiskFull,
        Fault::RottenMetadata,
        Fault::RottenData,
        Fault::Wipe,
    ];
}

/// How often each kind happened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FaultCounts([u64; Fault::ALL.len()]);

impl FaultCounts {
    pub fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    pub fn add(&mut self, other: &FaultCounts) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, more)| *mine += more);
    }
}

/// What a run goes without: how a failing seed is made shorter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Without {
    pub kinds: BTreeSet<Fault>,
    /// Single strikes, by their number in the run.
    pub strikes: BTreeSet<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_is_counted_by_itself() {
        let names: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        let mut counts = FaultCounts::default();
        Fault::ALL.iter().for_each(|&fault| counts.count(fault));
        assert!(Fault::ALL.iter().all(|&fault| counts.of(fault) == 1));
        assert_eq!(Fault::named("ring"), Some(Fault::Ring));
    }
}
