//! A partition's log in use.

use kraft_model::log::Log;
use kraft_model::replica::DataLog;
use kraft_model::{LeaderEpoch, Offset, TopicId};
use kraft_node::storage::{OpenState, PartitionLog, RecordBatch, StorageError};

use crate::support::{
    Home, TOPIC, append, bases, batch, directory, from_producer, open_files, small,
};

#[test]
fn a_read_gives_whole_batches_from_the_one_that_holds_the_offset_and_none_above_the_bound() {
    let home = Home::new(small());
    let mut log = home.create();
    (0..10).for_each(|_| append(&mut log, 4, batch(3, 50, 1)));
    let size = log.size() as usize / 10;
    let read = |from, max_bytes, below| {
        let plan = log.read(Offset(from), max_bytes, Offset(below)).unwrap();
        let bytes = plan.run().unwrap();
        if bytes.is_empty() {
            return (0, 0);
        }
        let records = kraft_node::storage::Records::parse(bytes).unwrap();
        (records.base.0, records.end.0)
    };
    assert_eq!(read(0, size * 2 + 1, 30), (0, 6), "whole batches that fit");
    assert_eq!(read(4, 1, 30), (3, 6), "at least one, the one that holds the offset");
    assert_eq!(read(4, size * 9, 12), (3, 12), "none that begins at the bound");
    assert_eq!(read(4, size * 9, 10), (3, 12), "one that begins below the bound");
    assert_eq!(read(12, size * 9, 12), (0, 0), "nothing at the bound");
    assert_eq!(read(30, size, 30), (0, 0), "nothing at the end");
}

#[test]
fn a_batch_of_a_leader_is_stamped_without_touching_what_the_client_sent() {
    let home = Home::new(small());
    let mut log = home.create();
    let sent = batch(2, 20, 5);
    append(&mut log, 7, sent.clone());
    append(&mut log, 7, sent.clone());
    let bytes = log.read(Offset(2), 1 << 20, log.end()).unwrap().run().unwrap();
    let records = kraft_node::storage::Records::parse(bytes).unwrap();
    assert_eq!((records.base, records.end, records.last_epoch), (Offset(2), Offset(4), 7));
    assert_eq!(records.bytes[16..], sent.bytes[16..]);
    assert_eq!(sent.base, Offset(0));
}

#[test]
fn epochs_end_where_the_next_leader_began_also_after_truncation_and_restart() {
    let home = Home::new(small());
    let mut log = home.create();
    for (epoch, count) in [(1, 3), (4, 5), (9, 2)] {
        append(&mut log, epoch, batch(count, 30, 1));
    }
    let ends = |log: &PartitionLog| {
        [0, 1, 3, 4, 20].map(|epoch| {
            let end = log.end_of_epoch(epoch);
            (end.epoch, end.end.0)
        })
    };
    assert_eq!(ends(&log), [(0, 0), (1, 3), (1, 3), (4, 8), (9, 10)]);
    log.truncate(Offset(8));
    assert_eq!(ends(&log), [(0, 0), (1, 3), (1, 3), (4, 8), (4, 8)]);
    home.close(log);
    let (log, recovery) = home.reopen(OpenState::default());
    assert!(!recovery.epochs_rebuilt);
    assert_eq!(ends(&log), [(0, 0), (1, 3), (1, 3), (4, 8), (4, 8)]);
    assert_eq!(log.epoch_at(Offset(2)), Some(LeaderEpoch(1)));
}

#[test]
fn a_flush_counts_only_for_what_was_in_the_log_all_the_time() {
    let home = Home::new(small());
    let mut log = home.create();
    (0..10).for_each(|_| append(&mut log, 1, batch(1, 50, 1)));
    let job = log.flush_job();
    log.truncate(Offset(4));
    (0..10).for_each(|_| append(&mut log, 2, batch(1, 50, 1)));
    log.flushed_up_to(job.run().unwrap());
    assert_eq!(log.flushed(), Offset(4));
    let job = log.flush_job();
    log.flushed_up_to(job.run().unwrap());
    assert_eq!(log.flushed(), Offset(14));
}

#[test]
fn retention_by_size_and_time_drops_whole_segments_below_the_high_watermark() {
    let mut config = small();
    config.retention_bytes = 3 * 4096;
    config.retention_ms = 1_000;
    let home = Home::new(config);
    let mut log = home.create();
    (0..100).for_each(|i| append(&mut log, 1, batch(1, 300, i)));
    let segments = log.segment_count();
    assert!(segments > 6);

    assert_eq!(log.retention_start(0, Offset(5)).unwrap(), Offset(0), "nothing above the HW goes");
    let start = log.retention_start(0, log.end()).unwrap();
    assert!(start > Offset(50), "{start}");
    log.advance_start(start);
    assert_eq!(bases(&log).first(), Some(&start.0));
    assert!(log.size() <= 4 * 4096);
    log.take_garbage().expect("files to delete").run().unwrap();
    assert!(home.files(".deleted").is_empty());

    let end = log.end();
    assert_eq!(log.retention_start(10_000, end).unwrap(), end, "all of it is too old");
    log.advance_start(end);
    assert_eq!((log.start(), log.size()), (end, 0));
    assert_eq!(log.last_epoch(), 1, "the epoch outlives its records");
    // Killed before it was noted anywhere else where the log starts.
    let (mut log, recovery) = home.crash();
    assert_eq!((log.start(), log.end(), recovery.damage), (end, end, None));
    append(&mut log, 2, batch(1, 10, 1));
    assert_eq!(bases(&log), [end.0], "no offset is given away twice");
}

#[test]
fn a_new_beginning_that_a_kill_cut_short_is_completed() {
    for start in [0, 30, 500] {
        let home = Home::new(small());
        let mut log = home.create();
        (0..50).for_each(|_| append(&mut log, 1, batch(1, 200, 1)));
        let flushed = log.flush_job().run().unwrap();
        log.flushed_up_to(flushed);
        let state = OpenState { recovery_point: log.flushed(), ..OpenState::default() };
        drop(log);
        // The first thing that it does; some of the others are out of the way already.
        std::fs::write(home.path().join(format!("{start:020}.log.begun")), "").unwrap();
        let first = &home.files(".log")[0];
        std::fs::rename(first, format!("{}.1.deleted", first.display())).unwrap();
        let (mut log, recovery) = home.open(state);
        assert_eq!((log.start().0, log.end().0, recovery.damage), (start, start, None));
        assert_eq!((home.files(".log").len(), home.files(".begun").len()), (1, 0));
        append(&mut log, 2, batch(1, 10, 1));
        assert_eq!(bases(&log), [start]);
    }
}

#[test]
fn a_truncation_while_a_flush_is_under_way_makes_a_snapshot_void_and_fails_nothing() {
    let home = Home::new(small());
    let mut log = home.create();
    (0..200).for_each(|i| append(&mut log, 1, from_producer(1, i64::from(i % 3), i / 3)));
    for to in [130, 70, 10] {
        let job = log.flush_job();
        log.truncate(Offset(to));
        log.flushed_up_to(job.run().unwrap());
        assert_eq!(log.flushed(), Offset(to));
        assert_eq!(log.headers_from(Offset(0)).last().map(|last| last.end), Some(Offset(to)));
        (0..100).for_each(|i| append(&mut log, 2, from_producer(1, 7, i)));
    }
}

#[test]
fn producer_snapshots_go_with_the_segments_that_they_summarise() {
    let home = Home::new(small());
    let mut log = home.create();
    (0..200).for_each(|i| append(&mut log, 1, from_producer(1, i64::from(i % 3), i / 3)));
    let flushed = log.flush_job().run().unwrap();
    log.flushed_up_to(flushed);
    let all = home.files(".snapshot");
    assert!(all.len() > 2);
    log.advance_start(Offset(150));
    let first = home.files(".log")[0].file_stem().unwrap().to_owned();
    let left = home.files(".snapshot");
    assert!(!left.is_empty() && left.len() < all.len(), "{left:?}");
    assert!(left.iter().all(|path| path.file_stem() >= Some(&*first)), "{left:?}");
    assert_eq!(log.headers_from(log.start()).last().map(|last| last.end), Some(log.end()));
    // One that a flush under way has written late goes at the next start.
    std::fs::write(&all[0], "").unwrap();
    let (log, _) = home.open(OpenState { log_start: Offset(150), ..OpenState::default() });
    assert_eq!((home.files(".snapshot"), log.start()), (left, Offset(150)));
}

#[test]
fn a_timestamp_is_found_in_sealed_and_active_segments_and_an_index_that_lies_is_not_believed() {
    let home = Home::new(small());
    let mut log = home.create();
    (0..100).for_each(|i| append(&mut log, 3, batch(2, 150, i * 10)));
    assert!(log.segment_count() > 3);
    let find = |log: &PartitionLog, time| {
        let hit = log.offset_for_timestamp(time).run().unwrap();
        hit.map(|hit| (hit.offset.0, hit.timestamp, hit.exact))
    };
    let all = |log: &PartitionLog| (0..101).map(|i| find(log, i * 10 - 5)).collect::<Vec<_>>();
    let right: Vec<_> = (0..100).map(|i| Some((i * 2, i * 10, true))).chain([None]).collect();
    assert_eq!(all(&log), right);
    assert_eq!(log.largest_timestamp().run().unwrap().map(|hit| hit.offset), Some(Offset(198)));

    for path in home.files(".timeindex").into_iter().chain(home.files(".index")) {
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x06;
            std::fs::write(&path, flipped).unwrap();
            let probes = [1, 250, 495, 990];
            for time in probes {
                let expected = right[(time as usize).div_ceil(10)];
                assert_eq!(find(&log, time), expected, "{} byte {at}", path.display());
            }
            for offset in (0..200).step_by(2) {
                let read = log.read(Offset(offset), 1, log.end()).unwrap().run().unwrap();
                let first = RecordBatch::read(&read).unwrap();
                assert_eq!(first.base.0, offset, "{} byte {at}", path.display());
            }
        }
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn producer_batches_are_the_same_whether_read_from_the_log_or_from_snapshots() {
    let home = Home::new(small());
    let mut log = home.create();
    for i in 0..200 {
        append(&mut log, 1, from_producer(1, i64::from(i % 3), i / 3));
    }
    let from_log = log.headers_from(log.start());
    assert_eq!(from_log.len(), 200);
    let job = log.sealed_flush_job().expect("segments were sealed");
    log.flushed_up_to(job.run().unwrap());
    assert!(!home.files(".snapshot").is_empty());
    let from_snapshot = log.headers_from(log.start());
    assert!(from_snapshot.len() < 120);
    for producer in 0..3 {
        let last_five = |headers: &[kraft_model::replica::BatchHeader]| {
            let of = headers.iter().filter(|h| h.producer.is_some_and(|p| p.id.0 == producer));
            let mut of: Vec<_> = of.copied().collect();
            of.split_off(of.len() - 5)
        };
        assert_eq!(last_five(&from_snapshot), last_five(&from_log));
    }
    log.truncate(Offset(30));
    assert_eq!(log.headers_from(log.start()), from_log[..30]);
}

#[test]
fn a_full_disk_fails_the_append_says_so_and_leaves_nothing_behind() {
    let home = Home::new(small());
    let mut log = home.create();
    let target = home.path().join("00000000000000000000.log");
    std::os::unix::fs::symlink("/dev/full", target).unwrap();
    log.append_as_leader(LeaderEpoch(1), batch(1, 10, 1));
    assert!(log.failure().is_some_and(StorageError::is_full), "{:?}", log.failure());
    assert_eq!((log.end(), log.size()), (Offset(0), 0));
    log.append_as_leader(LeaderEpoch(1), batch(1, 10, 1));
    assert_eq!(log.end(), Offset(0), "the failure is sticky");
}

#[test]
fn a_follower_goes_on_empty_where_its_leader_starts_and_remembers_it() {
    let home = Home::new(small());
    let mut log = home.create();
    (0..50).for_each(|_| append(&mut log, 1, batch(1, 200, 1)));
    log.restart_at(Offset(500));
    assert_eq!((log.start(), log.end(), log.size()), (Offset(500), Offset(500), 0));
    assert_eq!(log.last_epoch(), 0);
    let (mut log, _) = home.crash();
    assert_eq!((log.start(), log.end()), (Offset(500), Offset(500)));
    append(&mut log, 2, batch(1, 10, 1));
    assert_eq!(bases(&log), [500]);
}

#[test]
fn a_log_that_starts_inside_a_batch_goes_on_empty_where_that_batch_is_truncated() {
    let home = Home::new(small());
    let mut log = home.create();
    (0..3).for_each(|_| append(&mut log, 1, batch(3, 20, 1)));
    log.advance_start(Offset(7));
    log.truncate(Offset(8));
    assert_eq!((log.start(), log.end(), log.flushed()), (Offset(8), Offset(8), Offset(8)));
    let (mut log, _) = home.crash();
    assert_eq!((log.start(), log.end()), (Offset(8), Offset(8)), "deleted records stay deleted");
    append(&mut log, 2, batch(1, 20, 1));
    assert_eq!(bases(&log), [8]);
}

#[test]
fn a_directory_of_another_topic_is_refused_and_untouched() {
    let home = Home::new(small());
    let mut log = home.create();
    append(&mut log, 1, batch(1, 10, 1));
    drop(log);
    let other = TopicId(TOPIC.0 + 1);
    let opened =
        PartitionLog::open(&home.path(), other, small(), open_files(4), OpenState::default());
    assert!(matches!(opened, Err(StorageError::TopicId { found: Some(TOPIC), .. })));
    std::fs::write(home.path().join("partition.metadata"), "").unwrap();
    assert!(matches!(
        home.try_open(OpenState::default()),
        Err(StorageError::TopicId { found: None, .. })
    ));
}

#[test]
fn a_thousand_empty_partitions_cost_two_names_each_and_no_open_file() {
    let dir = directory();
    let files = open_files(100);
    let logs: Vec<_> = (0..1000)
        .map(|i| {
            let path = dir.path().join(format!("t-{i}"));
            PartitionLog::create(&path, TOPIC, small(), files.clone()).unwrap()
        })
        .collect();
    assert_eq!(files.open_count(), 0);
    assert_eq!(std::fs::read_dir(logs[0].dir()).unwrap().count(), 1);
    assert!(size_of::<PartitionLog>() < 1024, "{} bytes", size_of::<PartitionLog>());
}

#[test]
fn open_files_stay_bounded_while_many_partitions_are_written_and_read() {
    let dir = directory();
    let files = open_files(10);
    let mut logs: Vec<_> = (0..50)
        .map(|i| {
            let path = dir.path().join(format!("t-{i}"));
            PartitionLog::create(&path, TOPIC, small(), files.clone()).unwrap()
        })
        .collect();
    for round in 0..20 {
        for log in &mut logs {
            append(log, 1, batch(1, 300, round));
            assert!(files.open_count() <= 10);
        }
    }
    logs.iter().for_each(|log| assert_eq!(bases(log).len(), 20));
}

#[test]
fn a_deleted_partition_frees_its_name_at_once() {
    let home = Home::new(small());
    let mut log = home.create();
    append(&mut log, 1, batch(1, 10, 1));
    let job = log.delete().unwrap();
    assert!(!home.path().exists());
    let log = home.create();
    assert_eq!(log.end(), Offset(0));
    job.run().unwrap();
    assert_eq!(std::fs::read_dir(home.dir.path()).unwrap().count(), 1);
}
