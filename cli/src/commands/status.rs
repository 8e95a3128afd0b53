//! `kraft status`.

use std::path::Path;
use std::time::Duration;

use kraft_node::storage::Depth;
use serde::Serialize;

use super::{Dir, block_on};
use crate::cluster::{Cluster, Node, NodeState, Stat, SupervisorState, Wish, now_ms};
use crate::output::{OutputArgs, duration, or_dash, table};
use crate::report::Failure;
use crate::verify::{Place, Report, verify};

/// Show the nodes of the cluster in --dir: what runs, since when, and why something does not
///
/// JSON: {cluster_id, bootstrap, supervisor_pid, nodes: [{id, roles, pid, state, uptime_ms,
/// listeners, restarts, last_exit: {at_ms, code, signal, log}}], verify}; 'state' is running, paused,
/// down, restarting, or held (it was killed with --stay-down). 'verify' is there if it was asked for:
/// {high_watermark, promises: [{about, promise, judged, of, verdict, stories, more}], not_judged:
/// [{why, what}]}; 'verdict' is holds, broken or nothing-to-judge.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Judge what the nodes hold by the promises that 'kraft check' judges; exit code 3 if one is broken
    ///
    /// Reads the nodes' directories, whether they run or not, and asks those that run for their high
    /// watermarks; changes nothing. Of the metadata it reads everything, of partitions the header of
    /// every batch below the high watermark on every replica that may be elected. The table says how
    /// much each promise was judged of, and then what could not be judged, and why.
    #[arg(long)]
    verify: bool,
    /// As --verify, and read all records of partitions, to see that each batch has its checksum
    #[arg(long)]
    verify_checksums: bool,
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
pub struct Answer {
    pub cluster_id: String,
    pub bootstrap: String,
    pub supervisor_pid: Option<i32>,
    pub nodes: Vec<NodeAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Report>,
}

#[derive(Debug, Serialize)]
pub struct NodeAnswer {
    pub id: i32,
    pub roles: &'static str,
    pub pid: Option<i32>,
    pub state: &'static str,
    pub uptime_ms: Option<u64>,
    pub listeners: String,
    pub restarts: u32,
    pub last_exit: Option<crate::cluster::LastExit>,
}

pub fn run(args: &StatusArgs) -> Result<(), Failure> {
    let cluster = Cluster::load(&args.dir.dir)?;
    let mut answer = Answer::of(&args.dir.dir, &cluster)?;
    if args.verify || args.verify_checksums {
        let place = Place { dir: &args.dir.dir, cluster: &cluster };
        let depth = if args.verify_checksums { Depth::Checksums } else { Depth::Headers };
        answer.verify = Some(block_on(verify(place, depth))?);
    }
    args.output.answer(&answer, |answer| {
        let supervisor = match answer.supervisor_pid {
            Some(pid) => format!("supervisor pid {pid}"),
            None => "not running ('kraft up' starts it)".to_owned(),
        };
        let place = match answer.bootstrap.as_str() {
            "" => "of controllers only".to_owned(),
            bootstrap => format!("at {bootstrap}"),
        };
        let table = node_table(answer);
        let verified = answer.verify.as_ref().map(|report| format!("\n{}", report.text()));
        let verified = verified.unwrap_or_default();
        format!("cluster {} {place}, {supervisor}\n\n{table}{verified}", answer.cluster_id)
    })?;
    match answer.verify {
        Some(report) if report.is_broken() => Err(Failure::Violation),
        _ => Ok(()),
    }
}

impl Answer {
    /// As the files and the processes say now.
    pub fn of(dir: &Path, cluster: &Cluster) -> Result<Answer, Failure> {
        let state = SupervisorState::load(dir)?;
        let mut answer = Answer::from_state(cluster, &state);
        for (node, answer) in cluster.nodes.iter().zip(&mut answer.nodes) {
            if answer.pid.is_none() && Wish::read(dir, node) == Some(Wish::StayDown) {
                answer.state = "held";
            }
        }
        Ok(answer)
    }

    pub fn from_state(cluster: &Cluster, state: &SupervisorState) -> Answer {
        let supervisor = state.running();
        let node = |node| node_answer(node, state.node(node.id), supervisor.is_some());
        Answer {
            cluster_id: cluster.cluster_id.clone(),
            bootstrap: cluster.bootstrap().join(","),
            supervisor_pid: supervisor.map(|supervisor| supervisor.pid),
            nodes: cluster.nodes.iter().map(node).collect(),
            verify: None,
        }
    }

    /// Why nodes are not running, in one line.
    pub fn complaints(&self) -> String {
        let ended = self.nodes.iter().filter(|node| node.pid.is_none() || node.restarts > 0);
        let complaint = |node: &NodeAnswer| {
            Some(format!("node {}: {}", node.id, node.last_exit.as_ref()?.describe()))
        };
        let complaints: Vec<_> = ended.filter_map(complaint).collect();
        if complaints.is_empty() {
            "all nodes run, but they have not all found each other yet".to_owned()
        } else {
            complaints.join("; ")
        }
    }
}

fn node_answer(node: &Node, state: Option<&NodeState>, supervised: bool) -> NodeAnswer {
    let process = state.and_then(NodeState::running);
    let stat = process.and_then(|process| process.stat());
    let restarts_soon = supervised && state.is_some_and(|state| state.back_off_ms.is_some());
    NodeAnswer {
        id: node.id,
        roles: node.roles(),
        pid: process.map(|process| process.pid),
        state: match stat {
            Some(Stat::Running) => "running",
            Some(Stat::Paused) => "paused",
            None if restarts_soon => "restarting",
            None => "down",
        },
        uptime_ms: process
            .and(state.and_then(|state| state.started_ms))
            .map(|started| now_ms().saturating_sub(started)),
        listeners: node.listeners(),
        restarts: state.map_or(0, |state| state.restarts),
        last_exit: state.and_then(|state| state.last_exit.clone()),
    }
}

pub fn node_table(answer: &Answer) -> String {
    let rows = answer.nodes.iter().map(|node| {
        vec![
            node.id.to_string(),
            node.roles.to_owned(),
            or_dash(node.pid),
            node.state.to_owned(),
            or_dash(node.uptime_ms.map(|uptime| duration(Duration::from_millis(uptime)))),
            node.restarts.to_string(),
            node.listeners.clone(),
            or_dash(node.last_exit.as_ref().map(crate::cluster::LastExit::describe)),
        ]
    });
    let header = ["node", "roles", "pid", "state", "uptime", "restarts", "listeners", "last exit"];
    table(&header, rows)
}
