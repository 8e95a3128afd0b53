//! What must hold in every state, and what some state must have for that to mean anything.

use stateright::Property;

use crate::invariant::quorum as invariant;
use crate::log::Log;
use crate::raft::{Effect, Event, Message, Vote};
use crate::{Epoch, Offset};

use super::disk::DiskLog;
use super::keys::id;
use super::packet::Packet;
use super::record::{Record, Run};
use super::state::{Broken, Cut, State};
use super::{Bounds, QuorumModel, story};

/// The nodes' logs from the first record on, whatever snapshots they begin with.
fn wholes<const N: usize>(state: &State<N>) -> [Run; N] {
    std::array::from_fn(|at| state.nodes[at].log.whole())
}

fn view<'a, const N: usize>(
    state: &State<N>,
    at: usize,
    whole: &'a Run,
) -> invariant::Replica<'a, Record> {
    let (standing, log) = (&state.nodes[at].standing, &state.nodes[at].log);
    invariant::Replica {
        epoch: standing.epoch(),
        leads: standing.is_leader(),
        log: whole.as_slice(),
        flushed: log.flushed().0 as usize,
        high_watermark: standing.high_watermark().0 as usize,
    }
}

fn all<const N: usize>(
    state: &State<N>,
    holds: impl Fn(&invariant::Replica<'_, Record>, invariant::Committed<'_, Record>) -> bool,
) -> bool {
    let wholes = wholes(state);
    (0..N).all(|at| holds(&view(state, at, &wholes[at]), state.history.committed()))
}

fn unbroken<const N: usize>(state: &State<N>, promise: Broken) -> bool {
    state.broken != Some(promise)
}

/// What must hold in every state.
pub(super) fn kept<const N: usize>(bounds: &Bounds) -> Vec<Property<QuorumModel<N>>> {
    let mut promises = vec![
        Property::always(story::ONE_LEADER, |_, s| unbroken(s, Broken::TwoLeaders)),
        Property::always(story::VOTES_STAND, |_, s| unbroken(s, Broken::VoteChanged)),
        Property::always(story::HIGH_WATERMARK, |_, s| unbroken(s, Broken::HighWatermarkFell)),
        Property::always(story::UNBROKEN, |_, s| unbroken(s, Broken::Noticed)),
        Property::always(story::LOGS_MATCH, |_, s: &State<N>| {
            let logs = wholes(s);
            let matching =
                |a: usize, b: usize| invariant::logs_match(logs[a].as_slice(), logs[b].as_slice());
            (0..N).all(|a| (0..a).all(|b| matching(a, b)))
        }),
        Property::always(story::EPOCHS_ASCEND, |_, s| {
            all(s, |replica, _| invariant::epochs_ascend(replica))
        }),
        Property::always(story::COMPLETE, |_, s| all(s, invariant::leader_is_complete)),
        Property::always(story::IMMUTABLE, |_, s| all(s, invariant::committed_never_changes)),
    ];
    if bounds.wipes == 0 {
        promises.push(Property::always(story::DURABLE, |_, s: &State<N>| {
            let wholes = wholes(s);
            let voters = s.history.committed_by.members().map(|at| view(s, at, &wholes[at]));
            invariant::committed_is_durable(voters, s.history.committed())
        }));
    }
    if bounds.observers.is_some() {
        promises.push(Property::always(story::VOTERS_FOLLOW, |_, s: &State<N>| {
            s.nodes
                .iter()
                .all(|node| invariant::voters_follow_log(node.voters(), node.log.voter_mask()))
        }));
    }
    if bounds.observers.is_some() && bounds.judges_voter_sets {
        promises.push(Property::always(story::ONE_UNCOMMITTED, |_, s: &State<N>| {
            let committed = s.history.committed.len();
            s.nodes.iter().all(|node| {
                let whole = node.log.whole();
                let sets = whole.as_slice().iter().map(|record| record.voter_mask().is_some());
                invariant::one_uncommitted_voter_set(sets, committed)
            })
        }));
    }
    if bounds.judges_stability {
        promises
            .push(Property::always(story::STABLE, |_, s| unbroken(s, Broken::LeadershipUnstable)));
    }
    if bounds.judges_electability {
        promises.push(Property::always(story::ELECTABLE, |model: &QuorumModel<N>, s| {
            model.somebody_is_electable(s)
        }));
    }
    if bounds.snapshots > 0 {
        promises.extend(of_snapshots());
    }
    promises
}

fn of_snapshots<const N: usize>() -> Vec<Property<QuorumModel<N>>> {
    vec![
        Property::always(story::FOLD, |_, s: &State<N>| {
            let committed = s.history.committed.as_slice();
            s.nodes
                .iter()
                .all(|node| invariant::snapshot_is_a_fold(node.log.placed.as_slice(), committed))
        }),
        Property::always(story::COVERED, |_, s: &State<N>| {
            let covered = |log: &DiskLog| {
                invariant::snapshot_covers_start(log.start(), Offset(log.placed.len() as i64))
            };
            s.nodes.iter().all(|node| covered(&node.log))
        }),
        Property::always(story::LEADER_LOADS, |_, s| unbroken(s, Broken::LeaderLoadedSnapshot)),
    ]
}

/// What some state must have.
pub(super) fn reached<const N: usize>(bounds: &Bounds) -> Vec<Property<QuorumModel<N>>> {
    let mut reached = vec![Property::sometimes("a leader is elected", |_, s: &State<N>| {
        s.nodes.iter().any(|node| node.standing.is_leader())
    })];
    if bounds.timeouts > 1 {
        reached.push(Property::sometimes(
            "a pre-vote is refused under a live leader",
            |_, s: &State<N>| {
                s.network.each().any(|(_, _, packet)| is_refusal_under_leader(packet))
            },
        ));
    }
    if bounds.records > 0 {
        reached.extend(of_records());
    }
    if bounds.epochs > 1 {
        reached.extend(of_failover());
    }
    if bounds.crashes > 0 {
        reached.push(Property::sometimes("a leader restarts and resigns", |_, s: &State<N>| {
            s.spent.crashes > 0 && s.nodes.iter().any(|node| node.standing.is_resigned())
        }));
    }
    if bounds.snapshots > 0 {
        reached.push(Property::sometimes("a snapshot is installed", |_, s: &State<N>| {
            let installed = s.nodes.iter().filter(|node| node.log.start().0 > 0).count();
            installed > usize::from(s.spent.snapshots)
        }));
        reached.push(Property::sometimes(
            "a snapshot is in place and the log not yet cut to it",
            |_, s: &State<N>| {
                let whole = |log: &DiskLog| log.placing && log.end().0 > 0;
                s.nodes.iter().any(|node| whole(&node.log))
            },
        ));
    }
    if bounds.observers.is_some() {
        reached.extend(of_voter_changes(bounds));
    }
    if bounds.wipes > 0 {
        reached.push(Property::sometimes("a node on a second disk follows", |_, s: &State<N>| {
            s.nodes.iter().any(|node| node.wiped && node.log.end().0 > 0)
        }));
    }
    if bounds.partitions > 0 {
        reached.push(Property::sometimes(
            "a node that was cut off asks in vain and follows again",
            |_, s: &State<N>| {
                let healed = s.spent.partitions > 0 && s.cut == Cut::default();
                healed && s.network.each().any(|(_, _, packet)| is_refusal_under_leader(packet))
            },
        ));
    }
    reached
}

fn of_voter_changes<const N: usize>(bounds: &Bounds) -> Vec<Property<QuorumModel<N>>> {
    let mut reached = Vec::new();
    if bounds.adds > 0 {
        reached.push(Property::sometimes(
            "an added voter is committed",
            |m: &QuorumModel<N>, s: &State<N>| {
                s.history
                    .committed_voters()
                    .is_some_and(|voters| voters.members().any(|at| !m.formatted.contains(at)))
            },
        ));
    }
    if bounds.removes > 0 {
        reached.push(Property::sometimes(
            "a removal is committed",
            |m: &QuorumModel<N>, s: &State<N>| {
                s.history
                    .committed_voters()
                    .is_some_and(|voters| m.formatted.members().any(|at| !voters.contains(at)))
            },
        ));
        reached.push(Property::sometimes(
            "a leader that is no voter any more leads on",
            |_, s: &State<N>| {
                let mut nodes = s.nodes.iter().enumerate();
                nodes.any(|(at, node)| node.standing.is_leader() && !node.voters().contains(at))
            },
        ));
    }
    reached
}

fn is_refusal_under_leader(packet: Packet) -> bool {
    matches!(packet, Packet::VoteResponse { pre_vote: true, granted: false, leader, .. }
        if leader > 0)
}

fn of_records<const N: usize>() -> Vec<Property<QuorumModel<N>>> {
    vec![
        Property::sometimes("a record is committed", |_, s: &State<N>| {
            s.history.committed.as_slice().iter().any(|record| record.is_data())
        }),
        Property::sometimes("every voter knows a committed record", |_, s: &State<N>| {
            let known = s.nodes.iter().map(|node| node.standing.high_watermark().0 as usize).min();
            let committed = s.history.committed.as_slice();
            known.is_some_and(|known| committed[..known].iter().any(|record| record.is_data()))
        }),
    ]
}

fn of_failover<const N: usize>() -> Vec<Property<QuorumModel<N>>> {
    vec![
        Property::sometimes("a second leader commits after the first", |_, s: &State<N>| {
            let committed = s.history.committed.as_slice();
            committed.first().map(|r| r.epoch()) < committed.last().map(|r| r.epoch())
        }),
        Property::sometimes("a follower is told to truncate", |_, s: &State<N>| {
            s.network.each().any(|(_, _, packet)| matches!(packet, Packet::Diverging { .. }))
        }),
    ]
}

impl<const N: usize> QuorumModel<N> {
    /// Asks the machines themselves: of any majority, somebody is voted for by all the others.
    fn somebody_is_electable(&self, state: &State<N>) -> bool {
        let logs: [(i32, Offset); N] =
            std::array::from_fn(|at| (state.nodes[at].log.last_epoch(), state.nodes[at].log.end()));
        // Whoever stands first of those that are alike is voted for by every rule.
        if logs.iter().all(|log| *log == logs[0]) {
            return true;
        }
        let votes: [[bool; N]; N] = std::array::from_fn(|voter| {
            std::array::from_fn(|candidate| {
                voter == candidate || self.would_vote(state, voter, candidate)
            })
        });
        invariant::any_majority_can_elect(N, |voter, candidate| votes[voter][candidate])
    }

    /// Asks a copy of the voter's machine, in an epoch that is above all.
    fn would_vote(&self, state: &State<N>, voter: usize, candidate: usize) -> bool {
        let highest = state.nodes.iter().map(|node| node.standing.epoch()).max();
        let (log, key) =
            (&state.nodes[candidate].log, |at: usize| self.born(at, state.nodes[at].wiped).me());
        let vote = Vote {
            epoch: highest.unwrap_or_default().next(),
            candidate: key(candidate),
            voter: key(voter),
            last_epoch: Epoch(log.last_epoch()),
            end: log.end(),
            pre_vote: false,
        };
        let mut effects = Vec::new();
        let event = Event::Received { from: id(candidate), message: Message::Vote(vote) };
        state.machine(self, voter).step(&mut state.nodes[voter].log.clone(), event, &mut effects);
        effects.iter().any(|effect| {
            matches!(effect, Effect::Send { message: Message::VoteResponse(answer), .. }
                if answer.granted)
        })
    }
}
