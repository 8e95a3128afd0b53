//! The guards of the protocol, as switches that only the checker can throw.
//!
//! A machine is generic over its [`Rules`]. Production can name only [`Shipped`], a zero-sized type
//! whose guards all hold, so that the compiler removes the question. The checker instantiates the
//! same source with `check::Mutated`, in which one named guard fails, and must find out.

use std::fmt::Debug;
use std::hash::Hash;

/// Which guards hold.
pub trait Rules: Copy + Eq + Hash + Debug + Default + 'static {
    /// Whether `guard` is in force.
    fn holds(self, guard: Guard) -> bool;
}

/// The rules as shipped: every guard holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Shipped;

impl Rules for Shipped {
    #[inline(always)]
    fn holds(self, _: Guard) -> bool {
        true
    }
}

macro_rules! guards {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A guard that a mutation can remove. The variant names the *mutation*: what goes wrong
        /// when the guard is gone.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Guard { $($(#[$doc])* $name,)* }

        impl Guard {
            pub const ALL: &'static [Guard] = &[$(Guard::$name,)*];

            /// The mutation's name on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Guard::$name => $text,)* }
            }
        }
    };
}

guards! {
    /// Q2: a vote leaves only after it is stored.
    VoteBeforeDurable = "vote-before-durable",
    /// Q3: a vote goes only to a candidate whose log is as complete as the voter's.
    SkipLogUpToDate = "skip-log-up-to-date",
    /// Q3: logs compare in dictionary order of (last epoch, end), not member by member.
    CompareLogMemberwise = "compare-log-memberwise",
    /// Q7: a record of an earlier epoch is not committed by counting replicas.
    CommitOldEpoch = "commit-old-epoch",
    /// Q7: the high watermark passes the epoch's first record before it moves at all.
    HwAtEpochStart = "hw-at-epoch-start",
    /// Q2: a restarted leader resigns; it does not lead on in the same epoch.
    RestartAsLeader = "restart-as-leader",
    /// Q7, Q8: only what is flushed counts towards the high watermark.
    CountUnflushed = "count-unflushed",
    /// Q6: a follower acknowledges what was verified against the leader, not its own end.
    AckOwnEnd = "ack-own-end",
    /// Q6: only a valid fetch moves the recorded end.
    CommitOnNack = "commit-on-nack",
    /// Q8: an append that the log already holds does not truncate it first.
    TruncateThenAppend = "truncate-then-append",
    /// Q5, Q7: a majority is more than half.
    MajorityIsHalf = "majority-is-half",
    /// Q7: the leader counts only while it is a voter.
    CountRemovedLeader = "count-removed-leader",
    /// Q12: no voter change before a commit in this epoch.
    ReconfigureBeforeCommit = "reconfigure-before-commit",
    /// Q12: one uncommitted voter set at most.
    TwoUncommittedVoterSets = "two-uncommitted-voter-sets",
    /// Q3: a voter is its id and its directory.
    VoterWithoutDirectory = "voter-without-directory",
    /// Q4: a granted pre-vote is no vote.
    PrevoteIsVote = "prevote-is-vote",
    /// Q4: a follower that has fetched from its leader refuses pre-votes.
    PrevoteUnderLiveLeader = "prevote-under-live-leader",
    /// Q11: a snapshot ends before the offset that names it.
    SnapshotOffByOne = "snapshot-off-by-one",
    /// P3: a fenced or stopping broker joins no ISR.
    FencedJoinsIsr = "fenced-joins-isr",
    /// P3: an AlterPartition names the partition epoch that it saw.
    SkipPartitionEpoch = "skip-partition-epoch",
    /// L2: the high watermark waits for the maximal ISR, not for the committed one.
    HwOverCommittedIsr = "hw-over-committed-isr",
    /// L4: a follower truncates where its epochs diverge from the leader's, not to its high
    /// watermark.
    TruncateToHighWatermark = "truncate-to-high-watermark",
    /// L6: after a power failure the checkpointed high watermark says nothing about this log.
    TrustCheckpoint = "trust-checkpoint",
    /// L2: the high watermark stands still while the ISR is below min.insync.replicas.
    HwUnderMinIsr = "hw-under-min-isr",
    /// B1: a replica that lost data leaves ISR and ELR when it registers.
    UncleanKeepsElr = "unclean-keeps-elr",
    /// P6: the last known leader is elected only if it is alive.
    ElectDeadLastLeader = "elect-dead-last-leader",
    /// P6, P7: ELR members are replicas.
    ElrOutsideReplicas = "elr-outside-replicas",
    /// P7: a reassignment completes with min.insync.replicas members in the ISR.
    ReassignBelowMinIsr = "reassign-below-min-isr",
    /// P6, L2: controller and broker agree on the effective min.insync.replicas.
    TwoMinIsrs = "two-min-isrs",
    /// Q4: pre-vote as a whole (expected survivor).
    DropPrevote = "drop-prevote",
    /// Q9: a leader that hears from no majority resigns (expected survivor).
    DropCheckQuorum = "drop-check-quorum",
    /// Q10: a resigning leader tells its followers (expected survivor).
    DropEndQuorum = "drop-end-quorum",
    /// B2: a broker waits for its own registration in the metadata before it is unfenced
    /// (expected survivor).
    UnfenceAtOnce = "unfence-at-once",
    /// L1: a joiner has reached the start of the leader's epoch.
    JoinBeforeEpochStart = "join-before-epoch-start",
    /// L1: a joiner has reached the leader's high watermark.
    JoinBelowHighWatermark = "join-below-high-watermark",
    /// L4: a fetch response is used only if it continues the follower's log in its epoch.
    StaleFetchResponse = "stale-fetch-response",
    /// L3: an AlterPartition answer of another leader epoch or partition epoch is ignored.
    StaleAlterPartition = "stale-alter-partition",
    /// L3: an ISR is in force by its record, not by the answer that grants it.
    GrantBeforeRecord = "grant-before-record",
    /// L5: a new leader forgets what followers outside the ISR had fetched.
    KeepFollowerState = "keep-follower-state",
    /// L4: a follower's fetch in an earlier leader epoch is refused.
    SkipLeaderEpoch = "skip-leader-epoch",
    /// I3: sequences are gapless.
    SkipSequenceCheck = "skip-sequence-check",
    /// I5: acks=all is refused while the ISR is below min.insync.replicas.
    AppendUnderMinIsr = "append-under-min-isr",
    /// P5: only ISR members, or ELR members when the ISR is empty, are elected.
    ElectAnyReplica = "elect-any-replica",
    /// Q6: a diverging follower is told so.
    IgnoreDivergence = "ignore-divergence",
    /// F1: a log that begins anew inside a batch begins with that batch.
    RefuseBeginInside = "refuse-begin-inside",
    /// Q8: the high watermark of a diverging response is not taken.
    HwFromDivergence = "hw-from-divergence",
    /// Q3: one vote per epoch.
    VoteTwice = "vote-twice",
    /// K1: an answer waits for the commit of what it rests on.
    ReplyBeforeCommit = "reply-before-commit",
    /// K2: losing leadership drops what is not committed.
    KeepOverlay = "keep-overlay",
    /// K6: a block of producer ids is in the metadata before it is out.
    ProducerIdsUnrecorded = "producer-ids-unrecorded",
    /// B1: a new process of a broker is in no ISR.
    RestartKeepsIsr = "restart-keeps-isr",
    /// B1: the same process keeps its broker epoch when it registers again (expected survivor).
    NewEpochSameProcess = "new-epoch-same-process",
    /// B2: a broker may exit only when it is fenced, and leads nothing.
    StopWhileLeading = "stop-while-leading",
    /// B3: one broker is fenced per event.
    FenceTwoAtOnce = "fence-two-at-once",
    /// B4: a stopping broker leaves the ISRs.
    StoppingStaysInIsr = "stopping-stays-in-isr",
    /// B4: an unregistered broker leaves the ISRs.
    UnregisterKeepsIsr = "unregister-keeps-isr",
    /// P1: only active replicas are in a new partition's ISR.
    InactiveInNewIsr = "inactive-in-new-isr",
    /// P1: a topic's name is taken once.
    TopicNameTwice = "topic-name-twice",
    /// P3: a member joins under the registration by which the leader saw it (KIP-903).
    AnyBrokerEpochJoins = "any-broker-epoch-joins",
    /// P4: a smaller ISR alone is no new leader epoch (KAFKA-15021; expected survivor).
    BumpOnShrink = "bump-on-shrink",
    /// P5: the preferred replica is elected only if it holds everything.
    PreferredFromAnywhere = "preferred-from-anywhere",
    /// P6: a look at who should lead keeps the ELR.
    ElectionWipesElr = "election-wipes-elr",
    /// P6: another min.insync.replicas clears ELRs.
    MinIsrKeepsElr = "min-isr-keeps-elr",
    /// P7: a reassignment is called off only if enough others hold everything.
    CancelBelowMinIsr = "cancel-below-min-isr",
    /// P7: who is removed leaves the ISR.
    RemovedStaysInIsr = "removed-stays-in-isr",
    /// Q12: a voter set is in force as soon as it is in the log, not when it is committed.
    VotersOnCommit = "voters-on-commit",
    /// Q8, Q12: the voters fall back with a log that is truncated.
    VotersSurviveTruncation = "voters-survive-truncation",
    /// Q12: a new voter has caught up before it counts (expected survivor).
    AddBeforeCaughtUp = "add-before-caught-up",
    /// Q12: a leader whose removal is committed resigns (expected survivor).
    RemovedLeaderLeads = "removed-leader-leads",
    /// P3: a refusal for an ineligible member voids the copies of the proposal.
    RefuseWithoutTrace = "refuse-without-trace",
    /// L6: a restarted broker acts on no metadata from before its registration.
    ViewWithoutRegistration = "view-without-registration",
    /// I1: producer state follows the log when that is truncated.
    KeepProducerState = "keep-producer-state",
    /// I2: a duplicate is acknowledged only where the original is.
    DuplicateAboveHighWatermark = "duplicate-above-high-watermark",
    /// Q2: a restarted candidate waits for the next epoch: the votes that are under way to it were
    /// given to the log that it had.
    RestartAsCandidate = "restart-as-candidate",
    /// Q8: a follower knows nothing to be committed that its own log does not reach.
    HwBeyondOwnEnd = "hw-beyond-own-end",
    /// Q7: the high watermark never falls; a new leader may know less of it than its followers.
    HwFalls = "hw-falls",
    /// Q3: a vote counts in the epoch in which it was given.
    StaleVoteCounts = "stale-vote-counts",
}
