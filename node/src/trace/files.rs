//! The files of one recording: numbered, each with a header of its own, up to a limit.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use kraft_model::replay::{self, EncodeError, Header, Recording};

use super::{Origin, TraceConfig, monotonic_ns};

/// A trace cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("cannot {operation} {}: {source}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("an event cannot be recorded: {0}")]
    Encode(#[from] EncodeError),
}

#[derive(Debug)]
pub(super) struct Files {
    config: TraceConfig,
    header: Header,
    path: PathBuf,
    file: File,
    /// Bytes of this file, and of all.
    size: u64,
    total: u64,
}

impl Files {
    pub fn create(
        config: TraceConfig,
        origin: Origin,
        thread: &str,
        recording: &mut Recording,
    ) -> Result<Files, TraceError> {
        let dir = &config.dir;
        fs::create_dir_all(dir).map_err(|source| failed("create", dir.clone(), source))?;
        let header = Header {
            node: origin.node,
            incarnation: origin.incarnation,
            cluster: origin.cluster,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            thread: thread.to_owned(),
            file: 0,
            entries_before: 0,
            at: 0,
            wall_clock_ms: wall_clock_ms(),
        };
        let (path, file) = begin(&config, &header)?;
        let mut files = Files { config, header, path, file, size: 0, total: 0 };
        files.write_header(recording)?;
        Ok(files)
    }

    /// Writes what has gathered; whether the recording has ended with it.
    pub fn write(&mut self, recording: &mut Recording) -> Result<bool, TraceError> {
        if let Some(error) = recording.failure() {
            return Err(error.clone().into());
        }
        let gathered = recording.bytes().len() as u64;
        let is_over = self.total + gathered >= self.config.max_bytes;
        if is_over {
            recording.end(monotonic_ns(), "it is as large as trace.max.bytes allows");
            tracing::warn!(path = %self.path.display(), bytes = self.total, "the trace ends: trace.max.bytes");
        }
        self.append(recording.bytes())?;
        recording.clear();
        if !is_over && self.size >= self.config.segment_bytes {
            self.roll(recording)?;
        }
        Ok(is_over)
    }

    fn roll(&mut self, recording: &mut Recording) -> Result<(), TraceError> {
        self.header.file += 1;
        self.header.entries_before = recording.entries();
        self.header.wall_clock_ms = wall_clock_ms();
        (self.path, self.file) = begin(&self.config, &self.header)?;
        self.size = 0;
        self.write_header(recording)
    }

    fn write_header(&mut self, recording: &mut Recording) -> Result<(), TraceError> {
        self.header.at = monotonic_ns();
        recording.file_began(self.header.at);
        let mut bytes = Vec::new();
        replay::begin_file(&mut bytes, &self.header)?;
        self.append(&bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), TraceError> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| failed("write", self.path.clone(), source))?;
        self.size += bytes.len() as u64;
        self.total += bytes.len() as u64;
        Ok(())
    }
}

/// A file that was not there. Names sort by node, run, thread and number.
fn begin(config: &TraceConfig, header: &Header) -> Result<(PathBuf, File), TraceError> {
    let Header { node, incarnation, thread, file, .. } = header;
    let path = config.dir.join(format!("node-{node}_{incarnation}_{thread}_{file:05}.trace"));
    let created = File::options().create_new(true).append(true).open(&path);
    match created {
        Ok(file) => Ok((path, file)),
        Err(source) => Err(failed("create", path, source)),
    }
}

fn failed(operation: &'static str, path: PathBuf, source: io::Error) -> TraceError {
    TraceError::Io { operation, path, source }
}

fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
