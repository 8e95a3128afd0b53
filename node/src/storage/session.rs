//! Under which registration, and in which boot of the machine, a directory was last used.
//!
//! A process that is killed leaves everything it has written with the kernel; only a machine that
//! goes down loses what was not flushed. So after a kill the log is as whole as after an orderly
//! stop, and the broker may say so when it registers again (B1, L6). Nothing here needs an fsync: if
//! it is lost, so is the boot that it names.

use std::fs;
use std::path::Path;

use kraft_model::BrokerEpoch;

use super::durable;
use super::error::{Context, StorageError};

const SESSION: &str = ".kraft_session";

/// Where Linux names the present boot. Elsewhere there is no such name, and every kill counts as a
/// power failure, as it does for Kafka.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

fn boot() -> Option<String> {
    let id = fs::read_to_string(BOOT_ID).ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Notes that `dir` is used under this registration from now on.
///
/// # Errors
///
/// The device's.
pub(super) fn write(dir: &Path, epoch: BrokerEpoch) -> Result<(), StorageError> {
    let Some(boot) = boot() else { return Ok(()) };
    let (path, beside) = (dir.join(SESSION), dir.join(format!("{SESSION}.tmp")));
    fs::write(&beside, format!("{epoch} {boot}\n")).context("write", &beside)?;
    fs::rename(&beside, &path).context("write", &path)
}

/// Vouches no longer for what is in `dir`: a write has failed, and the kernel may have forgotten what
/// it could not bring to disk.
///
/// # Errors
///
/// The device's.
pub(super) fn forget(dir: &Path) -> Result<(), StorageError> {
    let path = dir.join(SESSION);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("delete", &path)
        }
        _ => Ok(()),
    }
}

/// The registration under which `dir` was last used, if the machine has been up ever since.
pub(super) fn read(dir: &Path) -> Result<Option<BrokerEpoch>, StorageError> {
    let path = dir.join(SESSION);
    let content = durable::read_if_there(&path).context("read", &path)?;
    Ok(content.and_then(|content| parse(&content, &boot()?)))
}

fn parse(content: &[u8], boot: &str) -> Option<BrokerEpoch> {
    let (epoch, of) = std::str::from_utf8(content).ok()?.trim().split_once(' ')?;
    if of == boot { epoch.parse().ok().map(BrokerEpoch) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_boot_vouches_for_what_was_written() {
        assert_eq!(parse(b"17 this-boot\n", "this-boot"), Some(BrokerEpoch(17)));
        assert_eq!(parse(b"17 earlier-boot\n", "this-boot"), None);
        for torn in [&b""[..], b"17", b"17 ", b"17 this", b"x this-boot", b"\xff this-boot"] {
            assert_eq!(parse(torn, "this-boot"), None);
        }
    }

    #[test]
    fn what_was_noted_last_is_read_back() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        assert_eq!(read(dir.path()).expect("readable"), None);
        write(dir.path(), BrokerEpoch(3)).expect("writable");
        write(dir.path(), BrokerEpoch(12)).expect("writable");
        let expected = boot().map(|_| BrokerEpoch(12));
        assert_eq!(read(dir.path()).expect("readable"), expected);
        for _ in 0..2 {
            forget(dir.path()).expect("deletable, and not there any more");
            assert_eq!(read(dir.path()).expect("readable"), None);
        }
    }
}
