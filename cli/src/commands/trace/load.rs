//! Traces from files.

use std::fs;
use std::path::{Path, PathBuf};

use kraft_model::replay::Recorded;

use crate::output;
use crate::report::{Context, Failure};

/// The recordings in these files and directories, by node and time.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Recorded>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    files.sort();
    files.dedup();
    if files.is_empty() {
        return Err(Failure::new("there is no trace to replay")
            .because("no file there is called .trace")
            .next("nodes record while the key trace.dir names a directory"));
    }
    let read = |path: PathBuf| {
        let name = path.display().to_string();
        let bytes = fs::read(&path).doing(|| format!("cannot read {name}"))?;
        Ok((name, bytes))
    };
    let files = files.into_iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    let recordings = Recorded::gather(files).map_err(|(name, error)| {
        Failure::new(format!("cannot read the trace {name}"))
            .because(error)
            .next("name the whole directory: a recording is read from its first file on")
    })?;
    let own = env!("CARGO_PKG_VERSION");
    if let Some(other) = recordings.iter().find(|it| it.header.version != own) {
        let version = &other.header.version;
        output::notice(&format!("recorded by kraft {version}; this is {own}: digests may differ"));
    }
    Ok(recordings)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = || format!("cannot read {}", path.display());
    if !fs::metadata(path).doing(failed)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).doing(failed)? {
        let path = entry.doing(failed)?.path();
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "trace") {
            collect(&path, files)?;
        }
    }
    Ok(())
}
