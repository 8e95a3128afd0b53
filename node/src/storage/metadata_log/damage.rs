//! Damage of the metadata log, remembered until it is mended.

use std::fs;
use std::path::{Path, PathBuf};

use kraft_model::Offset;

use crate::storage::durable;
use crate::storage::error::{Context, StorageError};
use crate::storage::recovery::Recovery;
use crate::storage::scan::former_end;

/// The file that remembers damage; its content is the former end.
pub(in crate::storage) fn damage_path(dir: &Path) -> PathBuf {
    dir.join("damaged")
}

/// Damage that is not mended, from before or from now. The files that recovery sets aside speak
/// for it too, because a crash may have come before it was written down.
pub(super) fn remembered_damage(
    dir: &Path,
    recovery: &Recovery,
) -> Result<Option<Offset>, StorageError> {
    let path = damage_path(dir);
    let mut former = recovery.damage.as_ref().map(|damage| damage.former_end);
    if let Some(bytes) = durable::read_if_there(&path).context("read", &path)? {
        let text = String::from_utf8_lossy(&bytes);
        let stored = text.trim().parse().map(Offset).map_err(|_| StorageError::Checkpoint {
            path: path.clone(),
            reason: "it does not hold an offset".to_owned(),
        })?;
        former = former.max(Some(stored));
    }
    for aside in set_aside(dir)? {
        let base = aside.file_name().and_then(|name| name.to_str()?.get(..20)?.parse().ok());
        let base = Offset(base.unwrap_or(0));
        let file = fs::File::open(&aside).context("open", &aside)?;
        let end = former_end(&file, 0, base).context("read", &aside)?;
        former = former.max(Some(end));
    }
    if let Some(end) = former {
        durable::replace_file(&path, format!("{end}\n").as_bytes()).context("write", &path)?;
    }
    Ok(former)
}

fn set_aside(dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let entries = fs::read_dir(dir).context("list", dir)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: Result<Vec<_>, _> = paths.collect();
    let is_aside = |path: &PathBuf| path.to_string_lossy().ends_with(".log.damaged");
    Ok(paths.context("list", dir)?.into_iter().filter(is_aside).collect())
}

/// Ends the memory of damage, once the log is whole again. The damaged files stay under a name
/// that no longer speaks.
#[derive(Debug)]
pub struct ForgetDamage {
    pub(super) dir: PathBuf,
}

impl ForgetDamage {
    /// # Errors
    ///
    /// The device's; then the next start still knows of the damage, which is safe.
    pub fn run(self) -> Result<(), StorageError> {
        for aside in set_aside(&self.dir)? {
            fs::rename(&aside, aside.with_extension("mended")).context("rename", &aside)?;
        }
        let path = damage_path(&self.dir);
        fs::remove_file(&path).context("delete", &path)?;
        durable::sync_dir(&self.dir).context("sync", &self.dir)
    }
}
