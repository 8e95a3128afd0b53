//! `kraft kill`, `pause`, `resume`, `restart`: faults and repairs of single nodes.

use std::time::{Duration, Instant};

use super::Dir;
use crate::cluster::{Cluster, Node, NodeState, ProcessId, Signal, SupervisorState, Wish};
use crate::output::line;
use crate::report::Failure;

const KILL_LIMIT: Duration = Duration::from_secs(5);
/// A broker moves its leaders away before it ends.
const RESTART_LIMIT: Duration = Duration::from_secs(40);

/// Kill a node (SIGKILL); the supervisor starts it again
#[derive(Debug, clap::Args)]
pub struct KillArgs {
    /// Its node.id
    node: i32,
    /// Leave it down until 'kraft restart'
    #[arg(long)]
    stay_down: bool,
    #[command(flatten)]
    dir: Dir,
}

/// Stop a node's process where it stands (SIGSTOP): it keeps its connections and says nothing
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// Its node.id
    node: i32,
    #[command(flatten)]
    dir: Dir,
}

/// Let a paused node go on (SIGCONT)
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// Its node.id
    node: i32,
    #[command(flatten)]
    dir: Dir,
}

/// End a node in order and start it again, or start one that is down
#[derive(Debug, clap::Args)]
pub struct RestartArgs {
    /// Its node.id
    node: i32,
    #[command(flatten)]
    dir: Dir,
}

pub fn kill(args: &KillArgs) -> Result<(), Failure> {
    let target = Target::find(&args.dir, args.node)?;
    if args.stay_down {
        Wish::StayDown.leave(&args.dir.dir, &target.node)?;
    }
    let process = target.running()?;
    process.signal(Signal::KILL);
    process.wait_until_gone(Instant::now() + KILL_LIMIT);
    line(&format!("node {} (pid {}) is killed", args.node, process.pid))
}

pub fn pause(args: &PauseArgs) -> Result<(), Failure> {
    let process = Target::find(&args.dir, args.node)?.running()?;
    process.signal(Signal::STOP);
    line(&format!("node {} (pid {}) is paused", args.node, process.pid))
}

pub fn resume(args: &ResumeArgs) -> Result<(), Failure> {
    let process = Target::find(&args.dir, args.node)?.running()?;
    process.signal(Signal::CONT);
    line(&format!("node {} (pid {}) is resumed", args.node, process.pid))
}

pub fn restart(args: &RestartArgs) -> Result<(), Failure> {
    let target = Target::find(&args.dir, args.node)?;
    if target.state.running().is_none() {
        return Err(Failure::new(format!("cannot restart node {}", args.node))
            .because("the cluster is not running: nobody would start it")
            .next("start the cluster with 'kraft up'"));
    }
    let before = target.process();
    // Left first: the supervisor must know what the coming end means.
    Wish::Start.leave(&args.dir.dir, &target.node)?;
    if let Some(process) = before {
        process.signal(Signal::TERM);
        process.signal(Signal::CONT);
        if !process.wait_until_gone(Instant::now() + RESTART_LIMIT) {
            process.signal(Signal::KILL);
        }
    }
    let after = wait_for_another(args, before)?;
    line(&format!("node {} runs again, pid {}", args.node, after.pid))
}

fn wait_for_another(args: &RestartArgs, before: Option<ProcessId>) -> Result<ProcessId, Failure> {
    let deadline = Instant::now() + KILL_LIMIT;
    while Instant::now() < deadline {
        let process = Target::find(&args.dir, args.node)?.process();
        if let Some(process) = process.filter(|process| Some(*process) != before) {
            return Ok(process);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Failure::new(format!("node {} did not come back", args.node))
        .next("see 'kraft status' and 'kraft logs'"))
}

struct Target {
    node: Node,
    state: SupervisorState,
}

impl Target {
    fn find(dir: &Dir, id: i32) -> Result<Target, Failure> {
        let node = Cluster::load(&dir.dir)?.node(id)?.clone();
        Ok(Target { node, state: SupervisorState::load(&dir.dir)? })
    }

    fn process(&self) -> Option<ProcessId> {
        self.state.node(self.node.id).and_then(NodeState::running)
    }

    fn running(&self) -> Result<ProcessId, Failure> {
        self.process().ok_or_else(|| {
            Failure::new(format!("node {} is not running", self.node.id))
                .next("see 'kraft status'; 'kraft restart' starts a node that is down")
        })
    }
}
