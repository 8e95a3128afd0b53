//! The beginning, and what each action does.

use crate::check::shared::Shared;
use crate::metadata::{Controller, ControllerDefaults, Event, Image, NewTopic, Request};
use crate::replica;
use crate::{Epoch, NodeId};

use super::config::ClusterModel;
use super::list::Action;
use super::process::{CLUSTER, next_image};
use super::quorum::{OPERATOR, START, To};
use super::state::{BROKERS, Broker, Found, History, Left, Published, Quorum, State};

impl ClusterModel {
    /// A cluster that was started in order, by the very machines: brokers registered and unfenced,
    /// the topic created, all metadata replayed.
    pub(super) fn initial(&self) -> State {
        let defaults = ControllerDefaults {
            min_insync_replicas: self.min_isr,
            auto_leader_rebalance: false,
            ..ControllerDefaults::default()
        };
        let controller = |index: i32| {
            let me = NodeId(100 + index);
            Shared::new(Controller::with_rules(me, CLUSTER, defaults, self.rules))
        };
        let empty = Shared::new(Published::new(Image::default()));
        let mut state = State {
            quorum: Quorum {
                controllers: [controller(0), controller(1)],
                active: 0,
                lingers: false,
                pending: Vec::new(),
                published: vec![empty.clone()],
                found: Found::default(),
            },
            brokers: std::array::from_fn(|index| Shared::new(Broker::new(index, empty.clone()))),
            alters: Default::default(),
            late: None,
            history: History::default(),
            left: Left::default(),
        };
        self.control(&mut state, Event::Lead { epoch: Epoch(1), next: START });
        (0..BROKERS).for_each(|index| self.start(&mut state, index));
        self.come_to_rest(&mut state);
        let topic = NewTopic {
            name: "t".to_owned(),
            partitions: None,
            replication_factor: None,
            assignments: vec![self.replicas.iter().map(|&id| NodeId(id)).collect()],
            configs: Vec::new(),
        };
        let request = Request::CreateTopics { topics: vec![topic], validate_only: false };
        self.request(&mut state, To::Active, OPERATOR, request);
        self.come_to_rest(&mut state);
        state.left = self.left;
        state
    }

    /// Everybody hears everything, until there is nothing left to say.
    fn come_to_rest(&self, state: &mut State) {
        let mut moved = true;
        while moved {
            moved = false;
            for index in 0..BROKERS {
                while next_image(state, index).is_some() {
                    self.replay(state, index);
                    moved = true;
                }
                if self.has_something_to_say(state, index) {
                    self.call(state, index, To::Active);
                    moved = true;
                }
            }
        }
        self.settle(state);
    }

    /// What follows at once from a step.
    pub(super) fn settle(&self, state: &mut State) {
        self.replay_what_is_nothing(state);
        self.send_what_waits(state);
    }

    pub(super) fn act(&self, state: &mut State, action: Action) {
        let at = usize::from;
        match action {
            Action::Append { leader } => self.append(state, at(leader)),
            Action::Resend { leader } => self.resend(state, at(leader)),
            Action::Replay { broker } => self.replay(state, at(broker)),
            Action::Fetch { follower, lost } => self.fetch(state, at(follower), lost),
            Action::Silent { leader, follower } => {
                self.find_silent(state, at(leader), at(follower));
            }
            Action::Decide { leader, to } => self.decide(state, at(leader), to),
            Action::Learn { leader } => self.learn(state, at(leader)),
            Action::RetryAlter { leader } => {
                let event = replica::Event::Timeout(replica::Timer::AlterRetry);
                self.step(state, at(leader), event);
            }
            Action::Repeat { leader } => self.repeat(state, at(leader)),
            Action::DecideLate => self.decide_late(state),
            Action::Call { broker, to } => self.call(state, at(broker), to),
            Action::Expire { broker } => self.expire(state, at(broker)),
            Action::Gone { broker } => self.gone(state, at(broker)),
            Action::Commit => self.commit(state),
            Action::FailOver { kept, lingers } => self.fail_over(state, kept, lingers),
            Action::Hear => self.hear(state),
            Action::Reassign => self.reassign(state),
            Action::Configure => self.configure(state),
            Action::Stop { broker } => self.leave(state, at(broker)),
            Action::Kill { broker } => self.kill(state, at(broker)),
            Action::Crash { broker, kept } => self.crash(state, at(broker), kept),
            Action::Restart { broker } => self.start(state, at(broker)),
        }
    }
}
