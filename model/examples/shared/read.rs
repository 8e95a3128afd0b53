//! The traces in a directory.

use std::fs;
use std::path::Path;

use kraft_model::replay::Recorded;

/// The recordings of all processes, from the files with names that are `wanted`.
pub fn recordings(directory: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<Recorded>, String> {
    let failed = |error| format!("{directory}: {error}");
    let mut files = Vec::new();
    for entry in fs::read_dir(Path::new(directory)).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".trace") && wanted(&name) {
            let bytes = fs::read(&path).map_err(|error| format!("{name}: {error}"))?;
            files.push((name, bytes));
        }
    }
    Recorded::gather(files).map_err(|(name, error)| format!("{name}: {error}"))
}
