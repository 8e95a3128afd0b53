//! Keeps the nodes' processes: starts them all at once, starts again what died, ends them in order.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use super::layout::{Cluster, Node};
use super::process::{ProcessId, Signal};
use super::state::{LastExit, SupervisorState, Wish};
use crate::report::{Context, Failure};

/// How often nodes that are down are looked at, for a wish or the end of their back-off.
const TICK: Duration = Duration::from_millis(50);
/// A process that lived this long has earned an immediate restart.
const STABLE: Duration = Duration::from_secs(5);
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);
/// What an orderly end may take before it becomes SIGKILL: a broker moves its leaders away first.
const BROKER_STOP: Duration = Duration::from_secs(30);
const CONTROLLER_STOP: Duration = Duration::from_secs(10);
/// A node's log beyond this is set aside when the node is started.
const LOG_LIMIT: u64 = 64 * 1024 * 1024;
const LAST_LINES: usize = 5;
const TAIL_BYTES: u64 = 4 * 1024;

#[derive(Clone, Debug)]
pub struct Options {
    pub dir: PathBuf,
    /// What runs as `program node --config FILE`: this very binary.
    pub program: PathBuf,
    /// Start again what died.
    pub restart: bool,
    /// `key=value` for every node of this run.
    pub set: Vec<String>,
}

/// What happens, for whoever watches.
#[derive(Debug)]
pub enum Notice {
    Started { id: i32, pid: i32 },
    Ended { id: i32, how: String },
    Stopping,
}

struct Supervisor<'a> {
    options: &'a Options,
    cluster: &'a Cluster,
    state: SupervisorState,
    /// Beside `state.nodes`, in the same order.
    processes: Vec<Option<Running>>,
    /// Deaths in a row, each soon after its start.
    quick_deaths: Vec<u32>,
    watcher: &'a mut dyn FnMut(&SupervisorState, Notice),
    _lock: File,
}

struct Running {
    child: Child,
    since: Instant,
}

struct Signals {
    child: SignalStream,
    interrupt: SignalStream,
    terminate: SignalStream,
}

/// Runs the cluster until SIGINT or SIGTERM; a second one kills what still runs.
pub async fn supervise(
    cluster: &Cluster,
    options: &Options,
    watcher: &mut dyn FnMut(&SupervisorState, Notice),
) -> Result<(), Failure> {
    let listen = |kind| signal(kind).doing(|| "cannot listen for signals".to_owned());
    let mut signals = Signals {
        child: listen(SignalKind::child())?,
        interrupt: listen(SignalKind::interrupt())?,
        terminate: listen(SignalKind::terminate())?,
    };
    let lock = lock(&options.dir)?;
    let state = SupervisorState::new(ProcessId::of(std::process::id()), cluster);
    let count = cluster.nodes.len();
    let mut supervisor = Supervisor {
        options,
        cluster,
        state,
        processes: (0..count).map(|_| None).collect(),
        quick_deaths: vec![0; count],
        watcher,
        _lock: lock,
    };
    let result = supervisor.run(&mut signals).await;
    let stopped = supervisor.stop_all(&mut signals).await;
    result.and(stopped)
}

/// Two supervisors of one directory would fight; the lock dies with its holder.
fn lock(dir: &Path) -> Result<File, Failure> {
    let path = dir.join("supervisor.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.doing(|| format!("cannot open {}", path.display()))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Failure::new(format!("the cluster in '{}' is running already", dir.display()))
            .next("see it with 'kraft status', end it with 'kraft down'")
    })?;
    Ok(file)
}

impl Supervisor<'_> {
    async fn run(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        for index in 0..self.cluster.nodes.len() {
            Wish::clear(&self.options.dir, &self.cluster.nodes[index]);
            self.start(index)?;
        }
        self.save()?;
        loop {
            let any_down = self.processes.iter().any(Option::is_none);
            tokio::select! {
                _ = signals.child.recv() => {}
                _ = signals.interrupt.recv() => return Ok(()),
                _ = signals.terminate.recv() => return Ok(()),
                () = tokio::time::sleep(TICK), if any_down => {}
            }
            self.reap()?;
            self.revive()?;
        }
    }

    fn start(&mut self, index: usize) -> Result<(), Failure> {
        let node = &self.cluster.nodes[index];
        let child = spawn(self.options, node)?;
        let process = ProcessId::of(child.id());
        let state = &mut self.state.nodes[index];
        state.process = Some(process);
        state.started_ms = Some(now_ms());
        state.back_off_ms = None;
        self.processes[index] = Some(Running { child, since: Instant::now() });
        (self.watcher)(&self.state, Notice::Started { id: node.id, pid: process.pid });
        Ok(())
    }

    /// Takes note of every process that has ended.
    fn reap(&mut self) -> Result<(), Failure> {
        let mut changed = false;
        for index in 0..self.processes.len() {
            let Some(running) = &mut self.processes[index] else { continue };
            let ended = running.child.try_wait().doing(|| "cannot wait for a node".to_owned())?;
            let Some(status) = ended else { continue };
            let lived = running.since.elapsed();
            self.processes[index] = None;
            self.ended(index, status, lived);
            changed = true;
        }
        if changed { self.save() } else { Ok(()) }
    }

    fn ended(&mut self, index: usize, status: ExitStatus, lived: Duration) {
        let node = &self.cluster.nodes[index];
        let exit = LastExit {
            at_ms: now_ms(),
            code: status.code(),
            signal: status.signal(),
            log: last_lines(&node.log(&self.options.dir)),
        };
        let deaths = &mut self.quick_deaths[index];
        *deaths = if lived < STABLE { *deaths + 1 } else { 0 };
        let how = exit.describe();
        let state = &mut self.state.nodes[index];
        state.process = None;
        state.last_exit = Some(exit);
        state.back_off_ms =
            self.options.restart.then(|| back_off(*deaths).as_millis().try_into().unwrap_or(0));
        (self.watcher)(&self.state, Notice::Ended { id: node.id, how });
    }

    /// Starts what is down and is to run: by wish at once, by policy after its back-off.
    fn revive(&mut self) -> Result<(), Failure> {
        for index in 0..self.processes.len() {
            if self.processes[index].is_some() {
                continue;
            }
            let node = &self.cluster.nodes[index];
            let wish = Wish::read(&self.options.dir, node);
            let state = &self.state.nodes[index];
            let ended_ms = state.last_exit.as_ref().map_or(0, |exit| exit.at_ms);
            let due_ms = state.back_off_ms.map(|wait| ended_ms + wait);
            if is_due(wish, due_ms, now_ms()) {
                Wish::clear(&self.options.dir, node);
                self.state.nodes[index].restarts += 1;
                self.start(index)?;
                self.save()?;
            }
        }
        Ok(())
    }

    /// Brokers first, so that their leaders move while there is a quorum to move them.
    async fn stop_all(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        (self.watcher)(&self.state, Notice::Stopping);
        let is_controller = |node: &Node| node.controller_port.is_some();
        let mut patient = true;
        for (controllers, limit) in [(false, BROKER_STOP), (true, CONTROLLER_STOP)] {
            let group: Vec<usize> = (0..self.processes.len())
                .filter(|&index| is_controller(&self.cluster.nodes[index]) == controllers)
                .collect();
            self.signal(&group, if patient { Signal::TERM } else { Signal::KILL });
            let mut deadline = Instant::now() + limit;
            while group.iter().any(|&index| self.processes[index].is_some()) {
                tokio::select! {
                    _ = signals.child.recv() => {}
                    _ = signals.interrupt.recv() => patient = false,
                    _ = signals.terminate.recv() => patient = false,
                    () = tokio::time::sleep_until(deadline.into()) => patient = false,
                }
                if !patient {
                    self.signal(&group, Signal::KILL);
                    deadline = Instant::now() + limit;
                }
                self.reap()?;
            }
        }
        self.state.supervisor = None;
        self.state.save(&self.options.dir)
    }

    fn signal(&self, group: &[usize], signal: Signal) {
        for &index in group {
            if let Some(process) = self.state.nodes[index].process {
                process.signal(signal);
                // A paused process takes no SIGTERM before it is resumed.
                process.signal(Signal::CONT);
            }
        }
    }

    fn save(&self) -> Result<(), Failure> {
        self.state.save(&self.options.dir)
    }
}

/// One node as a process of its own group: a Ctrl-C at the terminal is the supervisor's alone.
fn spawn(options: &Options, node: &Node) -> Result<Child, Failure> {
    let failed = || format!("cannot start node {}", node.id);
    let path = node.log(&options.dir);
    if std::fs::metadata(&path).is_ok_and(|log| log.len() > LOG_LIMIT) {
        std::fs::rename(&path, path.with_extension("log.1")).doing(failed)?;
    }
    let log = OpenOptions::new().create(true).append(true).open(&path).doing(failed)?;
    let errors = log.try_clone().doing(failed)?;
    let mut command = Command::new(&options.program);
    command.arg("node").arg("--config").arg(node.config(&options.dir));
    command.arg("--supervisor").arg(std::process::id().to_string());
    for setting in &options.set {
        command.arg("--set").arg(setting);
    }
    command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
    command.spawn().doing(failed)
}

/// Whether a node that is down is to be started; `due_ms` is its policy's word, if it has one.
fn is_due(wish: Option<Wish>, due_ms: Option<u64>, now_ms: u64) -> bool {
    match wish {
        Some(Wish::StayDown) => false,
        Some(Wish::Start) => true,
        None => due_ms.is_some_and(|due_ms| now_ms >= due_ms),
    }
}

/// None for the first death, then doubling.
fn back_off(quick_deaths: u32) -> Duration {
    match quick_deaths {
        0 | 1 => Duration::ZERO,
        more => FIRST_BACK_OFF.saturating_mul(1 << (more - 2).min(10)).min(LONGEST_BACK_OFF),
    }
}

fn last_lines(path: &Path) -> Vec<String> {
    let tail = (|| {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    })()
    .unwrap_or_default();
    let lines: Vec<_> = tail.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(LAST_LINES);
    lines[first..].iter().map(|line| (*line).to_owned()).collect()
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cluster of one node whose process is `sleep`.
    fn sleeping_cluster(dir: &Path) -> (Cluster, Options) {
        use std::os::unix::fs::PermissionsExt;
        let program = dir.join("program");
        std::fs::write(&program, "#!/bin/sh\nexec sleep 60\n").expect("it is writable");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, executable).expect("it is ours");
        let dir = dir.join("cluster");
        let shape = super::super::create::Shape::Combined(1);
        let cluster = super::super::create::create(&dir, shape, Some(0), &[]);
        let options = Options { dir, program, restart: true, set: vec![] };
        (cluster.expect("the directory is empty"), options)
    }

    #[tokio::test]
    async fn a_killed_node_is_started_again() {
        let temporary = tempfile::tempdir().expect("a temporary directory can be made");
        let (cluster, options) = sleeping_cluster(temporary.path());
        let (notices, mut story) = tokio::sync::mpsc::unbounded_channel();
        let mut watcher = |state: &SupervisorState, notice: Notice| {
            // The test has ended when nobody listens.
            let _ = notices.send((notice, state.nodes[0].process));
        };
        let supervised = supervise(&cluster, &options, &mut watcher);
        let told = async {
            let mut told = Vec::new();
            while told.len() < 3 {
                match story.recv().await {
                    Some((Notice::Ended { how, .. }, _)) => told.push(how),
                    Some((_, Some(process))) => {
                        told.push("started".to_owned());
                        process.signal(Signal::KILL);
                    }
                    _ => break,
                }
            }
            told
        };
        let told = tokio::select! {
            ended = supervised => panic!("the supervisor ended: {ended:?}"),
            told = tokio::time::timeout(Duration::from_secs(20), told) => told,
        };
        assert_eq!(
            told.ok().as_deref(),
            Some(&["started", "killed by signal 9", "started"].map(str::to_owned)[..])
        );
        assert!(SupervisorState::load(&options.dir).is_ok_and(|state| state.running().is_some()));
    }

    #[test]
    fn a_wish_outweighs_the_policy() {
        assert!(is_due(None, Some(5), 5));
        assert!(!is_due(None, Some(5), 4));
        assert!(!is_due(None, None, 5), "--no-restart");
        assert!(!is_due(Some(Wish::StayDown), Some(5), 5), "kill --stay-down");
        assert!(is_due(Some(Wish::Start), None, 5), "restart");
    }

    #[test]
    fn the_first_death_costs_nothing_and_a_loop_of_them_slows_down() {
        assert_eq!(back_off(1), Duration::ZERO);
        assert_eq!(back_off(2), FIRST_BACK_OFF);
        assert_eq!(back_off(3), FIRST_BACK_OFF * 2);
        assert_eq!(back_off(60), LONGEST_BACK_OFF);
    }

    #[test]
    fn the_last_lines_of_a_log_are_its_last_non_empty_ones() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let path = dir.path().join("node.log");
        let text: String = (0..2_000).map(|n| format!("line {n}\n\n")).collect();
        std::fs::write(&path, text).expect("the directory is writable");
        let lines = last_lines(&path);
        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!(lines.last().map(String::as_str), Some("line 1999"));
        assert!(last_lines(&dir.path().join("absent")).is_empty());
    }

    #[test]
    fn one_directory_has_one_supervisor() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let first = lock(dir.path()).expect("nobody holds it");
        let second = lock(dir.path()).expect_err("it is held");
        assert!(second.to_string().contains("running already"));
        drop(first);
        assert!(lock(dir.path()).is_ok());
    }
}
