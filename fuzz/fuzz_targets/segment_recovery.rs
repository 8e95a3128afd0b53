//! Any bytes as a segment that a crash left behind: recovery finds a valid prefix or reports damage,
//! and what it keeps reads back whole.
#![no_main]

use std::io::Write;

use kraft_model::Offset;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    let mut end = 0;
    let scan = kraft_node::storage::scan_segment(&file, Offset(0), |position, batch| {
        assert_eq!(position, end, "batches follow each other");
        end = position + batch.size as u64;
    })
    .expect("a regular file can be read");
    assert!(end <= bytes.len() as u64, "no batch reaches past the file");
    drop(scan);
});
