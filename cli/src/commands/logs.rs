//! `kraft logs`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::Dir;
use crate::cluster::{Cluster, Node};
use crate::output::stdout_failed;
use crate::report::{Context, Failure};

/// The end of a log is looked for in this many of its last bytes.
const TAIL_BYTES: u64 = 4 * 1024 * 1024;
const POLL: Duration = Duration::from_millis(100);

/// Show what nodes have written
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// One node only
    node: Option<i32>,
    #[command(flatten)]
    dir: Dir,
    /// Go on with what is written from now on
    #[arg(long, short)]
    follow: bool,
    /// Lines of each log
    #[arg(long, short = 'n', default_value_t = 100)]
    lines: usize,
}

/// A log that is read from where the last reading ended.
struct Log {
    /// Before every line if more than one log is shown.
    prefix: String,
    path: PathBuf,
    position: u64,
    /// A line that its writer has not ended yet.
    partial: Vec<u8>,
}

pub fn run(args: &LogsArgs) -> Result<(), Failure> {
    let cluster = Cluster::load(&args.dir.dir)?;
    let shown: Vec<&Node> = match args.node {
        Some(id) => vec![cluster.node(id)?],
        None => cluster.nodes.iter().collect(),
    };
    let mut logs: Vec<Log> = shown
        .iter()
        .map(|node| Log {
            prefix: if shown.len() > 1 { format!("{} | ", node.id) } else { String::new() },
            path: node.log(&args.dir.dir),
            position: 0,
            partial: Vec::new(),
        })
        .collect();
    for log in &mut logs {
        log.position = log.end()?.saturating_sub(TAIL_BYTES);
        let lines = log.new_lines()?;
        let first = lines.len().saturating_sub(args.lines);
        log.print(&lines[first..])?;
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(POLL);
        for log in &mut logs {
            let lines = log.new_lines()?;
            log.print(&lines)?;
        }
    }
}

impl Log {
    /// A node that never ran has no log yet.
    fn end(&self) -> Result<u64, Failure> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error).doing(|| format!("cannot read {}", self.path.display())),
        }
    }

    fn new_lines(&mut self) -> Result<Vec<Vec<u8>>, Failure> {
        let end = self.end()?;
        // The log was set aside and begun anew.
        if end < self.position {
            self.position = 0;
        }
        if end == self.position {
            return Ok(Vec::new());
        }
        let failed = || format!("cannot read {}", self.path.display());
        let mut file = File::open(&self.path).doing(failed)?;
        file.seek(SeekFrom::Start(self.position)).doing(failed)?;
        let mut bytes = std::mem::take(&mut self.partial);
        let read = file.take(end - self.position).read_to_end(&mut bytes).doing(failed)?;
        self.position += read as u64;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.partial = bytes.split_off(whole);
        Ok(bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
    }

    fn print(&self, lines: &[Vec<u8>]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        for line in lines {
            stdout
                .write_all(self.prefix.as_bytes())
                .and_then(|()| stdout.write_all(line))
                .map_err(stdout_failed)?;
        }
        stdout.flush().map_err(stdout_failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_appears_once_it_is_whole() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let path = dir.path().join("node.log");
        let mut log =
            Log { prefix: String::new(), path: path.clone(), position: 0, partial: Vec::new() };
        assert!(log.new_lines().expect("absence is fine").is_empty());
        std::fs::write(&path, "one\ntw").expect("the directory is writable");
        assert_eq!(log.new_lines().expect("readable"), [b"one\n"]);
        std::fs::write(&path, "one\ntwo\n").expect("the directory is writable");
        assert_eq!(log.new_lines().expect("readable"), [b"two\n"]);
    }
}
