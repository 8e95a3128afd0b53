//! `kraft down`.

use std::time::{Duration, Instant};

use super::Dir;
use crate::cluster::{Cluster, NodeState, ProcessId, Signal, SupervisorState};
use crate::output::line;
use crate::report::Failure;

/// The supervisor's own limits for brokers and controllers, and a little more.
const SUPERVISOR_LIMIT: Duration = Duration::from_secs(50);
const NODE_LIMIT: Duration = Duration::from_secs(10);

/// End the cluster in --dir in order: brokers first, then controllers
#[derive(Debug, clap::Args)]
pub struct DownArgs {
    #[command(flatten)]
    dir: Dir,
    /// At once, without the orderly end
    #[arg(long)]
    force: bool,
}

pub fn run(args: &DownArgs) -> Result<(), Failure> {
    Cluster::load(&args.dir.dir)?;
    let mut state = SupervisorState::load(&args.dir.dir)?;
    let nodes: Vec<ProcessId> = state.nodes.iter().filter_map(NodeState::running).collect();
    let Some(supervisor) = state.running() else {
        if nodes.is_empty() {
            return line("the cluster is not running");
        }
        // Their supervisor was killed: they are ours to end.
        end(&nodes, args.force)?;
        state.supervisor = None;
        state.save(&args.dir.dir)?;
        return line("the cluster is down");
    };
    supervisor.signal(Signal::TERM);
    if args.force {
        // The second signal is the impatient one.
        supervisor.wait_until_gone(Instant::now() + Duration::from_millis(100));
        supervisor.signal(Signal::TERM);
    }
    if !supervisor.wait_until_gone(Instant::now() + SUPERVISOR_LIMIT) {
        return Err(Failure::new("the cluster did not end")
            .because(format!("its supervisor, pid {}, still runs", supervisor.pid))
            .next("see 'kraft status', or try 'kraft down --force'"));
    }
    // What it started since, or left behind.
    let state = SupervisorState::load(&args.dir.dir)?;
    let left: Vec<ProcessId> = state.nodes.iter().filter_map(NodeState::running).collect();
    end(&left, args.force)?;
    line("the cluster is down")
}

fn end(nodes: &[ProcessId], force: bool) -> Result<(), Failure> {
    let first = if force { Signal::KILL } else { Signal::TERM };
    for signal in [first, Signal::KILL] {
        for node in nodes {
            node.signal(signal);
            node.signal(Signal::CONT);
        }
        let deadline = Instant::now() + NODE_LIMIT;
        if nodes.iter().all(|node| node.wait_until_gone(deadline)) {
            return Ok(());
        }
    }
    let left: Vec<_> = nodes.iter().filter(|node| node.is_alive()).map(|node| node.pid).collect();
    Err(Failure::new("some nodes did not end")
        .because(format!("pids {} outlived SIGKILL", crate::output::list(&left))))
}
