//! A cluster as its users have it: a directory, and `kraft` run in it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::binary::binary;
use serde_json::Value;

/// An empty directory to run `kraft` in. Dropping it ends whatever cluster was started there.
#[derive(Debug)]
pub struct Local {
    pub dir: tempfile::TempDir,
}

impl Local {
    pub fn empty() -> Local {
        Local { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A running cluster on ports of its own.
    pub fn up(shape: &[&str]) -> Local {
        let local = Local::empty();
        local.run(&[&["up", "--detach", "--port", "0"], shape].concat());
        local
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_remove("KRAFT_DIR").env_remove("KRAFT_OUTPUT");
        command
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("kraft runs")
    }

    /// Standard output of a command that must succeed.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.output(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kraft {arguments:?} failed: {error}");
        output.stdout
    }

    /// The JSON answer of a command that must succeed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let answer = self.run(&[arguments, &["--output", "json"]].concat());
        serde_json::from_slice(&answer).expect("the answer is one JSON document")
    }

    /// Exit code and message of a command that must fail.
    #[track_caller]
    pub fn failure(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.output(arguments);
        assert!(!output.status.success(), "kraft {arguments:?} succeeded");
        let code = output.status.code().expect("it exits by itself");
        (code, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs a command with `input` as its standard input; it must succeed.
    #[track_caller]
    pub fn feed(&self, arguments: &[&str], input: &[u8]) {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("kraft starts");
        let mut pipe = child.stdin.take().expect("it is piped");
        pipe.write_all(input).expect("kraft reads its input to the end");
        drop(pipe);
        assert!(child.wait().expect("it ends").success(), "kraft {arguments:?} failed");
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // There may be no cluster, or none any more.
        drop(self.output(&["down", "--force"]));
    }
}
