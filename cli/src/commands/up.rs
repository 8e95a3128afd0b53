//! `kraft up`, and the hidden `kraft supervise` that `--detach` leaves behind.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::status::{self, Answer};
use super::{Dir, block_on, key_value};
use crate::cluster::{
    self, Cluster, Notice, Shape, SupervisorOptions, SupervisorState, create, wait_until_ready,
};
use crate::output::{self, duration, line};
use crate::report::{Context, Failure};

/// How long a detached cluster may take to be ready before 'up' gives up watching it.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Start a cluster on this machine: a process per node, kept alive
///
/// The first time, an empty directory is formatted; later, the cluster in it is started again,
/// with its ids and ports. Ctrl-C ends it in order (brokers first), a second one at once.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Nodes of the metadata quorum [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=7))]
    controllers: Option<u8>,
    /// Nodes that serve clients; 0: a quorum alone [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    brokers: Option<u8>,
    /// Nodes that are controller and broker in one process, instead
    #[arg(
        long,
        value_name = "N",
        conflicts_with_all = ["controllers", "brokers"],
        value_parser = clap::value_parser!(u8).range(1..=7)
    )]
    combined: Option<u8>,
    #[command(flatten)]
    dir: Dir,
    /// The first broker's port; the others follow, controllers 10000 above. 0: whatever is free
    /// [default: 9092, or whatever is free]
    #[arg(long)]
    port: Option<u16>,
    /// Leave it running in the background ('kraft down' ends it)
    #[arg(long, short)]
    detach: bool,
    /// Leave a node down that has died
    #[arg(long)]
    no_restart: bool,
    /// A key of every node's configuration: kept when the cluster is made, later for this run only
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

/// Keep the nodes of a cluster (what 'up --detach' leaves running)
#[derive(Debug, clap::Args)]
pub struct SuperviseArgs {
    #[command(flatten)]
    dir: Dir,
    #[arg(long)]
    no_restart: bool,
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub fn run(args: &UpArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let (cluster, set) = prepare(args)?;
    let dir = std::fs::canonicalize(&args.dir.dir)
        .doing(|| format!("cannot use '{}'", args.dir.dir.display()))?;
    if SupervisorState::load(&dir)?.running().is_some() {
        return Err(Failure::new(format!("the cluster in '{}' is running already", dir.display()))
            .next("see it with 'kraft status', end it with 'kraft down'"));
    }
    let options =
        SupervisorOptions { dir, program: this_binary()?, restart: !args.no_restart, set };
    if args.detach {
        block_on(detach(&cluster, &options, began))
    } else {
        block_on(foreground(&cluster, &options, began))
    }
}

fn this_binary() -> Result<PathBuf, Failure> {
    std::env::current_exe().doing(|| "cannot find the kraft binary".to_owned())
}

/// The cluster in `--dir`, made if need be, and the settings that its files do not hold.
fn prepare(args: &UpArgs) -> Result<(Cluster, Vec<String>), Failure> {
    let count = |given: Option<u8>| usize::from(given.unwrap_or(3));
    let shape = match args.combined {
        Some(nodes) => Shape::Combined(usize::from(nodes)),
        None => {
            Shape::Separate { controllers: count(args.controllers), brokers: count(args.brokers) }
        }
    };
    let Some(cluster) = Cluster::load_if_any(&args.dir.dir)? else {
        let cluster = create(&args.dir.dir, shape, args.port, &args.set)?;
        announce_ports(args, &cluster);
        return Ok((cluster, Vec::new()));
    };
    let asked = args.combined.or(args.controllers).or(args.brokers).is_some();
    if asked && shape != cluster.shape() || args.port.is_some_and(|port| !cluster.begins_at(port)) {
        return Err(Failure::usage(format!(
            "the cluster in '{}' is of another shape or on other ports",
            args.dir.dir.display()
        ))
        .next(
            "leave --controllers, --brokers, --combined and --port out to start it as it is, or \
               name another --dir",
        ));
    }
    Ok((cluster, args.set.iter().map(|(key, value)| format!("{key}={value}")).collect()))
}

/// Says which ports are others than were asked for, or than is usual.
fn announce_ports(args: &UpArgs, cluster: &Cluster) {
    let first = args.port.unwrap_or(cluster::DEFAULT_BROKER_PORT);
    if first != 0 {
        for (wanted, chosen) in cluster.moved_ports(first) {
            output::notice(&format!("port {wanted} is in use; {chosen} was chosen instead"));
        }
    }
}

async fn foreground(
    cluster: &Cluster,
    options: &SupervisorOptions,
    began: Instant,
) -> Result<(), Failure> {
    let mut display = Display::new(cluster);
    let mut watcher = |state: &SupervisorState, notice: Notice| display.show(state, &notice);
    let supervised = cluster::supervise(cluster, options, &mut watcher);
    let ready = async {
        if wait_until_ready(cluster, Instant::now() + READY_LIMIT).await {
            output::notice(&ready_message(cluster, began));
        } else {
            output::notice(
                "the cluster is not ready after a minute: see 'kraft status' and 'kraft logs'",
            );
        }
        std::future::pending().await
    };
    tokio::select! {
        result = supervised => result,
        () = ready => Ok(()),
    }
}

fn ready_message(cluster: &Cluster, began: Instant) -> String {
    let (what, addresses) = match cluster.bootstrap() {
        brokers if brokers.is_empty() => ("controllers", cluster.controllers()),
        brokers => ("bootstrap server", brokers),
    };
    format!("ready after {}: {what} {}", duration(began.elapsed()), addresses.join(","))
}

async fn detach(
    cluster: &Cluster,
    options: &SupervisorOptions,
    began: Instant,
) -> Result<(), Failure> {
    let mut supervisor = spawn_supervisor(options)?;
    let ready = wait_until_ready(cluster, Instant::now() + READY_LIMIT);
    tokio::pin!(ready);
    loop {
        tokio::select! {
            ready = &mut ready => {
                if ready {
                    line(&ready_message(cluster, began))?;
                    return line("it runs in the background; 'kraft down' ends it");
                }
                return Err(Failure::new("the cluster is not ready after a minute")
                    .because(Answer::of(&options.dir, cluster)?.complaints())
                    .next("it goes on trying: see 'kraft status' and 'kraft logs', or 'kraft down'"));
            }
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                let ended = supervisor.try_wait().doing(|| "cannot watch the supervisor".to_owned())?;
                if let Some(status) = ended {
                    let log = supervisor_log(&options.dir);
                    return Err(Failure::new(format!("the supervisor ended at once ({status})"))
                        .next(format!("see {}", log.display())));
                }
            }
        }
    }
}

fn supervisor_log(dir: &Path) -> PathBuf {
    dir.join("supervisor.log")
}

/// This binary once more; it makes a session of its own, so that the terminal's end is not its own.
fn spawn_supervisor(options: &SupervisorOptions) -> Result<Child, Failure> {
    let failed = || "cannot start the supervisor".to_owned();
    let path = supervisor_log(&options.dir);
    let log = OpenOptions::new().create(true).append(true).open(path).doing(failed)?;
    let errors = log.try_clone().doing(failed)?;
    let mut command = Command::new(&options.program);
    command.arg("supervise").arg("--dir").arg(&options.dir);
    if !options.restart {
        command.arg("--no-restart");
    }
    for setting in &options.set {
        command.arg("--set").arg(setting);
    }
    command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().doing(failed)
}

pub fn supervise(args: &SuperviseArgs) -> Result<(), Failure> {
    rustix::process::setsid()
        .map_err(|error| Failure::new("cannot begin a session").because(error))?;
    let cluster = Cluster::load(&args.dir.dir)?;
    let options = SupervisorOptions {
        dir: args.dir.dir.clone(),
        program: this_binary()?,
        restart: !args.no_restart,
        set: args.set.clone(),
    };
    block_on(async {
        let mut display = Display { cluster: &cluster, table_lines: None };
        let mut watcher = |state: &SupervisorState, notice: Notice| display.show(state, &notice);
        cluster::supervise(&cluster, &options, &mut watcher).await
    })
}

/// What `up` shows while it runs: a table that renews itself on a terminal, else a line a change.
struct Display<'a> {
    cluster: &'a Cluster,
    /// Lines of the table on the screen; `None`: plain lines.
    table_lines: Option<usize>,
}

impl Display<'_> {
    fn new(cluster: &Cluster) -> Display<'_> {
        Display { cluster, table_lines: output::stdout_is_terminal().then_some(0) }
    }

    fn show(&mut self, state: &SupervisorState, notice: &Notice) {
        let text = match notice {
            Notice::Started { id, pid } => format!("node {id} started, pid {pid}"),
            Notice::Ended { id, how } => format!("node {id} ended: {how}"),
            Notice::Stopping => "stopping: brokers first, then controllers".to_owned(),
        };
        let shown = match self.table_lines {
            None => line(&text),
            // While all start at once, one table at the end of it is enough.
            Some(_) if state.nodes.iter().any(|node| node.started_ms.is_none()) => Ok(()),
            Some(lines) => {
                let answer = Answer::from_state(self.cluster, state);
                let table = status::node_table(&answer);
                self.table_lines = Some(table.lines().count() + 1);
                // Up over the old table and clear to the end of the screen.
                let back = if lines > 0 { format!("\x1b[{lines}A\x1b[J") } else { String::new() };
                line(&format!("{back}{table}{text}"))
            }
        };
        // A closed terminal is no reason to end the cluster.
        drop(shown);
    }
}
