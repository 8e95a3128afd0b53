//! One node of a cluster: a process under the test's own control.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::binary::binary;
use crate::wait::eventually;

/// One node: its files, and its process while it runs.
#[derive(Debug)]
pub struct Node {
    pub id: i32,
    pub is_controller: bool,
    pub is_broker: bool,
    pub dir: PathBuf,
    pub client_port: u16,
    pub controller_port: u16,
    pub metrics_port: u16,
    pub(crate) process: Option<Child>,
}

impl Node {
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.client_port).into()
    }

    pub fn controller_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.controller_port).into()
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.join("node.properties")
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.join("node.log")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) fn write_config(&self, quorum: &str, settings: &[(String, String)]) {
        let mut roles = Vec::new();
        let mut listeners = Vec::new();
        if self.is_broker {
            roles.push("broker");
            listeners.push(format!("PLAINTEXT://127.0.0.1:{}", self.client_port));
        }
        if self.is_controller {
            roles.push("controller");
            listeners.push(format!("CONTROLLER://127.0.0.1:{}", self.controller_port));
        }
        let mut text = format!(
            "process.roles={}\nnode.id={}\nlog.dirs={}\nlisteners={}\ncontroller.listener.names=CONTROLLER\n\
             controller.quorum.{quorum}\nmetrics.listener=127.0.0.1:{}\n",
            roles.join(","),
            self.id,
            self.data_dir().display(),
            listeners.join(","),
            self.metrics_port,
        );
        for (key, value) in settings {
            text.push_str(&format!("{key}={value}\n"));
        }
        fs::write(self.config_path(), text).expect("a node's configuration");
    }

    /// The disk is lost, and the node gets an empty one, formatted with these flags.
    pub fn replace_disk(&self, cluster_id: &str, flags: &[&str]) {
        assert!(self.process.is_none(), "node {} runs", self.id);
        fs::remove_dir_all(self.data_dir()).expect("a data directory");
        self.format(cluster_id, flags);
    }

    pub(crate) fn format(&self, cluster_id: &str, flags: &[&str]) {
        let output = Command::new(binary())
            .args(["storage", "format", "--cluster-id", cluster_id, "--config"])
            .arg(self.config_path())
            .args(flags)
            .output()
            .expect("kraft runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kraft storage format failed: {error}");
    }

    /// Starts the process, with its output going to [`Node::log_path`].
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "node {} runs already", self.id);
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let child = Command::new(binary())
            .args(["node", "--config"])
            .arg(self.config_path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("kraft starts");
        self.process = Some(child);
    }

    fn signal(&self, signal: Signal) {
        let child = self.process.as_ref().expect("a running process");
        let pid = Pid::from_child(child);
        kill_process(pid, signal).expect("a process that we started");
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// kill -9, and reaps the process.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            // It may have ended by itself; both calls then do nothing.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// kill -9 without waiting for the end; returns once the signal is sent.
    pub fn kill_now(&mut self) {
        self.signal(Signal::KILL);
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for the process to end by itself (after [`Node::terminate`]).
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let id = self.id;
        let status = eventually(&format!("node {id} ends"), || self.ended());
        self.process = None;
        status
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Everything that the node has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}
