//! Record batches without their records: what a machine reads of them, and a digest of the rest.

use std::hash::Hasher;

use serde::{Deserialize, Serialize};

use super::Digest;
use crate::Offset;
use crate::log::Extent;
use crate::replica::BatchHeader;

/// One or more record batches, or a chunk of a snapshot, as a trace holds them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Extents {
    pub base: Offset,
    /// Exclusive.
    pub end: Offset,
    pub last_epoch: i32,
    /// In order; none for a chunk of a snapshot.
    pub batches: Vec<BatchHeader>,
    /// Of the bytes: the batches' checksums, or a chunk's content.
    pub content: u64,
}

impl Extents {
    /// Batches by their headers and checksums.
    pub fn of_batches(
        (base, end, last_epoch): (Offset, Offset, i32),
        batches: impl Iterator<Item = (BatchHeader, u32)>,
    ) -> Extents {
        let mut content = Digest::default();
        let batches = batches.map(|(header, checksum)| {
            content.write_u32(checksum);
            header
        });
        let batches = batches.collect();
        Extents { base, end, last_epoch, batches, content: content.finish() }
    }

    /// A chunk of a snapshot's file; its extent counts bytes.
    pub fn of_chunk((base, end, last_epoch): (Offset, Offset, i32), bytes: &[u8]) -> Extents {
        Extents { base, end, last_epoch, batches: Vec::new(), content: Digest::of(bytes) }
    }
}

impl Extent for Extents {
    fn base(&self) -> Offset {
        self.base
    }

    fn end(&self) -> Offset {
        self.end
    }

    fn last_epoch(&self) -> i32 {
        self.last_epoch
    }
}
