//! Which files are in a log's directory, and what was under way there when the last process ended.

use std::fs;

use kraft_model::Offset;

use crate::storage::error::{Context, StorageError};
use crate::storage::log::SegmentedLog;
use crate::storage::truncate::{BEGUN, begun_path};

use super::OpenState;

/// What a directory's names say.
#[derive(Default)]
struct Names {
    /// Of the segments.
    bases: Vec<Offset>,
    /// Where the log was about to begin anew.
    begun: Vec<Offset>,
}

impl SegmentedLog {
    /// The bases of the segments in the directory, in order, and what is known of the log then. A
    /// new beginning that a kill cut short is completed: what was known before it is void.
    pub(super) fn take_up_names(
        &mut self,
        state: OpenState,
    ) -> Result<(Vec<Offset>, OpenState), StorageError> {
        let Names { bases, mut begun } = self.list()?;
        let Some(start) = begun.pop() else { return Ok((bases, state)) };
        for older in begun {
            let path = begun_path(&self.home, older);
            fs::remove_file(&path).context("delete", &path)?;
        }
        let path = begun_path(&self.home, start);
        self.replace_segments(bases.into_iter(), start).context("complete the new log", &path)?;
        let state =
            OpenState { recovery_point: Offset::ZERO, log_start: start, clean: false, ..state };
        Ok((vec![start], state))
    }

    /// Leftovers of deletions go to the garbage, those of unfinished writes at once.
    fn list(&mut self) -> Result<Names, StorageError> {
        let dir = self.home.dir.clone();
        let mut names = Names::default();
        for entry in fs::read_dir(&dir).context("list", &dir)? {
            let path = entry.context("list", &dir)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.ends_with(".deleted") {
                self.garbage.push(path);
            } else if name.ends_with(".tmp") {
                fs::remove_file(&path).context("delete", &path)?;
            } else if let Some(base) = segment_base(name) {
                names.bases.push(base);
            } else if let Some(start) = name.strip_suffix(BEGUN).and_then(segment_base) {
                names.begun.push(start);
            }
        }
        names.bases.sort_unstable();
        names.begun.sort_unstable();
        Ok(names)
    }
}

/// The base that a segment's name says.
pub(in crate::storage) fn segment_base(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".log")?;
    let is_base = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_base.then(|| digits.parse().ok().map(Offset))?
}
