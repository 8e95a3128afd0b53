//! A partition's log, batch by batch.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kraft_model::Offset;

use super::{BatchView, Stop, segments};
use crate::storage::error::{Context, StorageError};
use crate::storage::files::FileKind;
use crate::storage::read::{HeaderWalk, not_a_batch, read_at};
use crate::storage::records::{BatchError, RecordBatch};

/// How much of each batch is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Depth {
    /// Its header, and that it follows the one before it.
    #[default]
    Headers,
    /// All of it, and that its checksum is what its header says.
    Checksums,
}

/// A reader from the log's start on.
#[derive(Debug)]
pub struct DataView {
    dir: PathBuf,
    depth: Depth,
    start: Offset,
    end: Offset,
    epoch: i32,
    place: Option<Place>,
    stop: Option<Stop>,
}

/// Where the next batch begins.
#[derive(Clone, Debug)]
struct Place {
    file: Arc<File>,
    path: PathBuf,
    position: u64,
}

impl DataView {
    /// A log without any segment begins and ends at 0.
    ///
    /// # Errors
    ///
    /// The directory cannot be listed.
    pub fn open(dir: &Path, depth: Depth) -> Result<DataView, StorageError> {
        let start = segments(dir)?.first().copied().unwrap_or(Offset::ZERO);
        let (dir, epoch) = (dir.to_owned(), i32::MIN);
        Ok(DataView { dir, depth, start, end: start, epoch, place: None, stop: None })
    }

    /// The first offset that is here; retention may move it while the log is read.
    pub fn start(&self) -> Offset {
        self.start
    }

    /// Where the batches that were read end.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Why there is nothing at [`DataView::end`], if it was looked for.
    pub fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// The batches that begin below `to`, behind those that were read before.
    ///
    /// # Errors
    ///
    /// The device's.
    pub fn read_below(&mut self, to: Offset) -> Result<Vec<BatchView>, StorageError> {
        let mut batches = Vec::new();
        while self.end < to && self.stop.is_none() {
            let Some(mut place) = self.place.take() else {
                self.enter_next(None)?;
                continue;
            };
            let seen = self.read_on(&mut place, to, &mut batches)?;
            if self.end < to && self.stop.is_none() {
                self.enter_next(Some((place, seen)))?;
            } else {
                self.place = Some(place);
            }
        }
        Ok(batches)
    }

    /// Reads in one segment. How large that was.
    fn read_on(
        &mut self,
        place: &mut Place,
        to: Offset,
        batches: &mut Vec<BatchView>,
    ) -> Result<u64, StorageError> {
        let size = place.file.metadata().context("look at", &place.path)?.len();
        let file = Arc::clone(&place.file);
        let mut walk = HeaderWalk::new(&file, size);
        while self.end < to && place.position < size {
            match self.next(&mut walk, place) {
                Ok(batch) => {
                    place.position += batch.size as u64;
                    (self.end, self.epoch) = (batch.end(), batch.leader_epoch.0);
                    batches.push(BatchView::from(&batch));
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    // A batch may be on its way; the size that was seen tells whether it is.
                    if !is_cut(&error) {
                        self.stop = Some(self.damage(place, error.to_string()));
                    }
                    break;
                }
                Err(error) => return Err(error).context("read", &place.path),
            }
        }
        Ok(size)
    }

    fn next(&self, walk: &mut HeaderWalk<'_>, place: &Place) -> io::Result<RecordBatch> {
        let batch = walk.at(place.position)?;
        let malformed = |reason| Err(not_a_batch(BatchError::Malformed(reason)));
        if batch.base != self.end {
            return malformed("the batch does not follow the one before it");
        }
        if batch.leader_epoch.0 < self.epoch {
            return malformed("the leader epoch goes back");
        }
        if self.depth == Depth::Checksums {
            let bytes = read_at(&place.file, place.position, batch.size)?;
            batch.verify(&bytes).map_err(not_a_batch)?;
        }
        Ok(batch)
    }

    /// Goes to the segment that begins where the last one ended, or says why there is none.
    fn enter_next(&mut self, last: Option<(Place, u64)>) -> Result<(), StorageError> {
        let bases = segments(&self.dir)?;
        if let Some((place, seen)) = &last {
            // What was listed is no earlier than this: a segment that has a next one grows no more.
            let size = place.file.metadata().context("look at", &place.path)?.len();
            if size > *seen {
                self.place = Some(place.clone());
                return Ok(());
            }
        }
        let next = bases.iter().copied().find(|base| *base >= self.end);
        let is_first = next == bases.first().copied();
        match (next, last) {
            (Some(base), _) if base == self.end => self.enter(base),
            // Retention has taken away what was to be read.
            (Some(base), _) if is_first => {
                (self.start, self.end) = (base, base);
                self.enter(base)
            }
            (Some(base), Some((place, _))) => {
                let reason = format!("the segment ends, and the next one begins at {base}");
                self.stop = Some(self.damage(&place, reason));
                Ok(())
            }
            (_, last) => {
                self.stop = Some(self.log_ends(last));
                Ok(())
            }
        }
    }

    fn enter(&mut self, base: Offset) -> Result<(), StorageError> {
        let path = FileKind::Log.path(&self.dir, base.0);
        match File::open(&path) {
            Ok(file) => {
                self.place = Some(Place { file: Arc::new(file), path, position: 0 });
                Ok(())
            }
            // Taken away since it was listed: whoever asks again finds what is there now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).context("open", &path),
        }
    }

    fn damage(&self, place: &Place, reason: String) -> Stop {
        let (file, position) = (place.path.clone(), place.position);
        Stop { at: self.end, file, position, reason, is_damage: true }
    }

    fn log_ends(&self, last: Option<(Place, u64)>) -> Stop {
        let (file, position, seen) = match last {
            Some((place, seen)) => (place.path, place.position, seen),
            None => (self.dir.clone(), 0, 0),
        };
        let how = if position < seen { "the log ends inside a batch" } else { "the log ends" };
        Stop { at: self.end, file, position, reason: how.to_owned(), is_damage: false }
    }
}

/// The bytes end inside a batch.
fn is_cut(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<BatchError>());
    matches!(inner, Some(BatchError::Short { .. }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::storage::records::Records;

    const TO: Offset = Offset(1_000);

    /// A batch of three records.
    fn batch(base: i64, epoch: i32, content: &str) -> Records {
        let values = [content.as_bytes(); 3];
        Records::build(Offset(base), epoch, 1, false, values.into_iter())
    }

    fn segment(dir: &Path, batches: &[Records]) -> PathBuf {
        let path = FileKind::Log.path(dir, batches[0].base.0);
        let bytes: Vec<u8> = batches.iter().flat_map(|it| it.bytes.to_vec()).collect();
        std::fs::write(&path, bytes).expect("writes");
        path
    }

    fn bases(batches: &[BatchView]) -> Vec<i64> {
        batches.iter().map(|batch| batch.base.0).collect()
    }

    fn read_all(dir: &Path, depth: Depth) -> (Vec<i64>, Stop) {
        let mut view = DataView::open(dir, depth).expect("opens");
        let batches = view.read_below(TO).expect("reads");
        (bases(&batches), view.stop().expect("the log ends somewhere").clone())
    }

    #[test]
    fn a_log_is_read_over_its_segments_in_pieces() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        segment(dir.path(), &[batch(3, 1, "a"), batch(6, 1, "b")]);
        segment(dir.path(), &[batch(9, 2, "c")]);
        let mut view = DataView::open(dir.path(), Depth::Headers).expect("opens");
        assert_eq!(view.start(), Offset(3));
        assert_eq!(bases(&view.read_below(Offset(4)).expect("reads")), [3]);
        assert_eq!(bases(&view.read_below(Offset(10)).expect("reads")), [6, 9]);
        assert_eq!((view.end(), view.stop()), (Offset(12), None));
        assert_eq!(bases(&view.read_below(TO).expect("reads")), [0; 0]);
        let stop = view.stop().expect("the log ends");
        assert_eq!((stop.at, stop.is_damage), (Offset(12), false));
    }

    #[test]
    fn what_is_written_while_it_is_read_is_read() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let path = segment(dir.path(), &[batch(0, 1, "a")]);
        let mut view = DataView::open(dir.path(), Depth::Headers).expect("opens");
        assert_eq!(bases(&view.read_below(Offset(2)).expect("reads")), [0]);
        let whole = batch(3, 1, "b").bytes;
        let file = File::options().write(true).open(&path).expect("opens");
        let at = file.metadata().expect("is there").len();
        file.write_all_at(&whole, at).expect("writes");
        segment(dir.path(), &[batch(6, 1, "c")]);
        assert_eq!(bases(&view.read_below(Offset(7)).expect("reads")), [3, 6]);
        assert_eq!(view.stop(), None);
    }

    #[test]
    fn a_front_that_retention_takes_away_moves_the_start() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let first = segment(dir.path(), &[batch(0, 1, "a")]);
        let second = segment(dir.path(), &[batch(3, 1, "b")]);
        segment(dir.path(), &[batch(6, 1, "c")]);
        let mut view = DataView::open(dir.path(), Depth::Headers).expect("opens");
        assert_eq!(bases(&view.read_below(Offset(1)).expect("reads")), [0]);
        std::fs::remove_file(first).expect("is there");
        std::fs::remove_file(second).expect("is there");
        assert_eq!(bases(&view.read_below(Offset(9)).expect("reads")), [6]);
        assert_eq!((view.start(), view.stop()), (Offset(6), None));
    }

    #[test]
    fn a_header_that_does_not_follow_is_damage_and_a_cut_end_is_none() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let mut wrong = batch(3, 2, "b").bytes.to_vec();
        wrong[7] = 4;
        let wrong = Records { bytes: wrong.into(), ..batch(3, 2, "b") };
        segment(dir.path(), &[batch(0, 2, "a"), wrong]);
        let (found, stop) = read_all(dir.path(), Depth::Headers);
        assert_eq!((found, stop.at, stop.is_damage), (vec![0], Offset(3), true));
        segment(dir.path(), &[batch(0, 2, "a"), batch(3, 1, "b")]);
        assert!(read_all(dir.path(), Depth::Headers).1.reason.contains("epoch"));
        let whole = batch(3, 2, "b");
        let cut = Records { bytes: whole.bytes.slice(..whole.bytes.len() - 1), ..whole };
        segment(dir.path(), &[batch(0, 2, "a"), cut]);
        let (found, stop) = read_all(dir.path(), Depth::Headers);
        assert_eq!((found, stop.at, stop.is_damage), (vec![0], Offset(3), false));
        assert!(stop.to_string().contains("inside a batch"), "{stop}");
    }

    #[test]
    fn a_hole_between_segments_is_damage() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        segment(dir.path(), &[batch(0, 1, "a")]);
        segment(dir.path(), &[batch(6, 1, "c")]);
        let (found, stop) = read_all(dir.path(), Depth::Headers);
        assert_eq!((found, stop.at, stop.is_damage), (vec![0], Offset(3), true));
    }

    #[test]
    fn another_payload_under_the_same_header_is_found_by_its_checksum_alone() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let mut wrong = batch(0, 1, "a").bytes.to_vec();
        let last = wrong.len() - 2;
        wrong[last] ^= 1;
        segment(dir.path(), &[Records { bytes: wrong.into(), ..batch(0, 1, "a") }]);
        assert_eq!(read_all(dir.path(), Depth::Headers).0, [0]);
        let (found, stop) = read_all(dir.path(), Depth::Checksums);
        assert_eq!((found, stop.is_damage), (vec![], true));
        assert!(stop.reason.contains("checksum"), "{stop}");
    }

    #[test]
    fn a_log_that_is_not_there_is_empty() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let (found, stop) = read_all(&dir.path().join("orders-0"), Depth::Headers);
        assert_eq!((found, stop.at, stop.is_damage), (vec![], Offset(0), false));
    }
}
