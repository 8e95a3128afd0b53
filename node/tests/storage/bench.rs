//! How fast the log takes batches. Run by hand: `cargo test -p kraft-node --test storage bench --
//! --ignored --nocapture`.

use std::time::Instant;

use kraft_model::LeaderEpoch;
use kraft_model::log::Log;
use kraft_model::replica::DataLog;
use kraft_node::storage::{LogConfig, PartitionLog};

use crate::support::{Home, TOPIC, batch, open_files};

#[test]
#[ignore = "a measurement"]
fn appends_and_reads_per_second() {
    for (size, count) in [(100, 400_000), (16 << 10, 60_000)] {
        let home = Home::new(LogConfig { segment_bytes: 256 << 20, ..LogConfig::default() });
        let mut log = home.create();
        let records = batch(1, size, 1);
        let begun = Instant::now();
        for _ in 0..count {
            log.append_as_leader(LeaderEpoch(1), records.clone());
        }
        let appended = begun.elapsed();
        let per_second = f64::from(count) / appended.as_secs_f64();
        println!("append {size} B: {per_second:.0} batches/s");
        let begun = Instant::now();
        let (mut from, mut reads) = (log.start(), 0);
        while from < log.end() {
            let bytes = log.read(from, 1 << 20, log.end()).unwrap().run().unwrap();
            let records = kraft_node::storage::Records::parse_unverified(bytes).unwrap();
            from = records.end;
            reads += 1;
        }
        let per_second = log.size() as f64 / begun.elapsed().as_secs_f64() / 1e6;
        println!("read {size} B batches: {per_second:.0} MB/s in {reads} reads of 1 MiB");
    }
}

#[test]
#[ignore = "a measurement"]
fn creating_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let files = open_files(1000);
    let begun = Instant::now();
    let logs: Vec<_> = (0..1000)
        .map(|i| {
            let path = dir.path().join(format!("t-{i}"));
            PartitionLog::create(&path, TOPIC, LogConfig::default(), files.clone()).unwrap()
        })
        .collect();
    let took = begun.elapsed();
    println!("{} partitions in {took:?}, {} bytes each", logs.len(), size_of::<PartitionLog>());
}
