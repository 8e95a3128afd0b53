//! The metadata log: what a quorum's node rests on.

use std::path::PathBuf;

use kraft_model::log::Log;
use kraft_model::raft::{RaftLog, SnapshotId, Voters, VotersRecord};
use kraft_model::{ClusterId, DirectoryId, Epoch, NodeId, Offset, ReplicaKey};
use kraft_node::storage::{
    LogConfig, MetaProperties, MetadataLog, MetadataRecovery, Records, StorageError, VoterEndpoint,
    VoterNode, format_voter, records,
};

use crate::support::{directory, files};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        Home(directory())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("__cluster_metadata-0")
    }

    fn try_open(&self) -> Result<(MetadataLog, MetadataRecovery), StorageError> {
        let config = LogConfig { segment_bytes: 4096, ..LogConfig::default() };
        MetadataLog::open(&self.dir(), config)
    }

    fn open(&self) -> (MetadataLog, MetadataRecovery) {
        self.try_open().unwrap()
    }
}

fn propose(log: &mut MetadataLog, epoch: i32, value: &[u8]) {
    let records = Records::build(log.end(), epoch, 1, false, std::iter::once(value));
    log.append_as_leader(Epoch(epoch), records);
    assert!(log.failure().is_none());
}

fn flush(log: &mut MetadataLog) {
    let flushed = log.flush_job().run().unwrap();
    if let Some(forget) = log.flushed_up_to(flushed) {
        forget.run().unwrap();
    }
}

fn all(log: &MetadataLog) -> Vec<Vec<u8>> {
    let (mut from, mut values) = (log.start(), Vec::new());
    while from < log.end() {
        let batch = log.read(from);
        assert_eq!(batch.base, from);
        for (at, _) in batch.batches() {
            let read = records(&batch.bytes[at..]);
            values.extend(read.map(|record| record.unwrap().value.unwrap().to_vec()));
        }
        from = batch.end;
    }
    values
}

#[test]
fn an_epoch_begins_with_a_control_batch_and_reads_are_the_same_from_memory_and_disk() {
    let home = Home::new();
    let (mut log, recovery) = home.open();
    assert_eq!(recovery, MetadataRecovery::default());
    log.append_leader_change(Epoch(3), NodeId(1));
    (0..100).for_each(|i| propose(&mut log, 3, &[i; 200]));
    log.append_leader_change(Epoch(5), NodeId(2));
    let first = log.read(Offset(0));
    let batch = first.batches().next().unwrap().1;
    assert!(batch.is_control() && batch.leader_epoch.0 == 3);
    assert!(log.read(Offset(1)).end > Offset(50), "a laggard gets many batches at once");
    assert_eq!((log.last_epoch(), log.end_of_epoch(4).end), (5, Offset(101)));
    let from_memory = all(&log);
    drop(log);
    let (log, recovery) = home.open();
    assert_eq!((recovery.log.damage, recovery.log.truncated_bytes), (None, 0));
    assert_eq!((all(&log), log.flushed()), (from_memory, log.end()));
}

#[test]
fn a_truncated_end_is_gone_from_memory_too() {
    let home = Home::new();
    let (mut log, _) = home.open();
    (0..10).for_each(|i| propose(&mut log, 1, &[i]));
    log.truncate(Offset(4));
    propose(&mut log, 2, b"new");
    assert_eq!(all(&log), [&[0][..], &[1], &[2], &[3], b"new"]);
    assert_eq!(log.end_of_epoch(1).end, Offset(4));
}

#[test]
fn a_damaged_log_remembers_how_far_it_reached_until_it_was_refetched() {
    let home = Home::new();
    let (mut log, _) = home.open();
    (0..30).for_each(|i| propose(&mut log, 1, &vec![i; 300]));
    flush(&mut log);
    drop(log);
    let segments = files(&home.dir(), ".log");
    assert!(segments.len() > 2);
    let mut bytes = std::fs::read(&segments[1]).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&segments[1], bytes).unwrap();

    let (log, recovery) = home.open();
    assert_eq!(recovery.damaged, Some(Offset(30)));
    assert!(log.end() < Offset(30));
    drop(log);
    let (mut log, recovery) = home.open();
    assert_eq!((recovery.log.damage, recovery.damaged), (None, Some(Offset(30))));
    std::fs::remove_file(home.dir().join("damaged")).unwrap();
    drop(log);
    (log, _) = home.open();
    assert_eq!(log.damaged(), Some(Offset(30)), "the files that were set aside speak for it");

    while log.end() < Offset(30) {
        propose(&mut log, 2, b"refetched");
    }
    assert_eq!(log.damaged(), Some(Offset(30)), "not before it is on disk");
    flush(&mut log);
    assert_eq!(log.damaged(), None);
    drop(log);
    assert_eq!(home.open().1.damaged, None);
}

#[test]
fn an_unfinished_last_write_is_no_damage() {
    let home = Home::new();
    let (mut log, _) = home.open();
    (0..3).for_each(|i| propose(&mut log, 1, &[i; 100]));
    drop(log);
    let path = &files(&home.dir(), ".log")[0];
    let size = std::fs::metadata(path).unwrap().len();
    std::fs::File::options().write(true).open(path).unwrap().set_len(size - 10).unwrap();
    let (log, recovery) = home.open();
    assert_eq!((log.end(), recovery.damaged), (Offset(2), None));
    assert!(recovery.log.truncated_bytes > 0);
}

const SNAPSHOT: SnapshotId = SnapshotId { end: Offset(20), epoch: Epoch(1) };

fn with_snapshot(home: &Home) -> MetadataLog {
    let (mut log, _) = home.open();
    (0..40).for_each(|i| propose(&mut log, 1, &vec![i; 300]));
    let mut writer = log.snapshots().create(SNAPSHOT, 7, &[]).unwrap();
    writer.append([&b"topic"[..], b"partition"].into_iter()).unwrap();
    writer.append(std::iter::once(&[9; 70_000][..])).unwrap();
    log.snapshot_stored(writer.finish().unwrap());
    flush(&mut log);
    log
}

#[test]
fn a_snapshot_travels_in_chunks_and_a_follower_goes_on_behind_it() {
    let (home, other) = (Home::new(), Home::new());
    let log = with_snapshot(&home);
    let (mut follower, _) = other.open();
    let (mut position, mut last) = (0, false);
    while !last {
        let (chunk, is_last) = log.read_snapshot(SNAPSHOT, position).unwrap();
        let store = follower.snapshots();
        store.store_chunk(SNAPSHOT, position, &chunk.bytes, is_last).unwrap();
        position += chunk.bytes.len() as u64;
        last = is_last;
    }
    follower.cut_to_snapshot(SNAPSHOT);
    assert_eq!((follower.start(), follower.end()), (Offset(20), Offset(20)));
    assert_eq!((follower.last_epoch(), follower.snapshot()), (1, Some(SNAPSHOT)));
    assert_eq!(follower.end_of_epoch(3).end, Offset(20));
    assert_eq!(follower.end_of_epoch(3).epoch, 1);
    let mut reader = follower.snapshots().open(SNAPSHOT).unwrap();
    let first = reader.next_batch().unwrap().unwrap();
    assert_eq!(records(&first.bytes).next().unwrap().unwrap().value, Some(&b"topic"[..]));
    assert_eq!(reader.next_batch().unwrap().unwrap().end, Offset(4));
    assert!(reader.next_batch().unwrap().is_none());
    drop(follower);
    let (follower, _) = other.open();
    assert_eq!((follower.start(), follower.last_epoch()), (Offset(20), 1));
}

#[test]
fn a_crash_between_installing_a_snapshot_and_cutting_the_log_is_made_up_for() {
    let (home, other) = (Home::new(), Home::new());
    let log = with_snapshot(&home);
    let (mut follower, _) = other.open();
    (0..5).for_each(|i| propose(&mut follower, 0, &[i]));
    drop(follower);
    std::fs::copy(log.snapshots().path(SNAPSHOT), {
        let (follower, _) = other.open();
        follower.snapshots().path(SNAPSHOT)
    })
    .unwrap();
    let (follower, _) = other.open();
    assert_eq!((follower.start(), follower.end()), (Offset(20), Offset(20)));
}

#[test]
fn a_cut_log_without_a_whole_snapshot_is_refused() {
    let home = Home::new();
    let mut log = with_snapshot(&home);
    log.cut_to_snapshot(SNAPSHOT);
    assert_eq!((log.start(), log.end()), (Offset(20), Offset(40)));
    log.take_garbage().unwrap().run().unwrap();
    flush(&mut log);
    let path = log.snapshots().path(SNAPSHOT);
    drop(log);
    assert_eq!(all(&home.open().0).last(), Some(&vec![39; 300]));

    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 2;
    std::fs::write(&path, flipped).unwrap();
    assert!(matches!(home.try_open(), Err(StorageError::NoSnapshot { .. })));
    std::fs::write(&path, &whole[..whole.len() - 80]).unwrap();
    assert!(matches!(home.try_open(), Err(StorageError::NoSnapshot { .. })));
    std::fs::write(&path, &whole).unwrap();
    home.open();
}

#[test]
fn a_fetched_snapshot_that_is_not_whole_is_refused() {
    let (home, other) = (Home::new(), Home::new());
    let log = with_snapshot(&home);
    let (chunk, _) = log.read_snapshot(SNAPSHOT, 0).unwrap();
    let (follower, _) = other.open();
    let store = follower.snapshots();
    let cut = &chunk.bytes[..chunk.bytes.len() - 1];
    assert!(store.store_chunk(SNAPSHOT, 0, cut, true).is_err());
    assert!(store.store_chunk(SNAPSHOT, 1 << 30, cut, false).is_err(), "a gap");
    assert!(store.list().unwrap().is_empty());
    store.store_chunk(SNAPSHOT, 0, &chunk.bytes, true).unwrap();
    assert_eq!(store.list().unwrap(), [SNAPSHOT]);
    assert!(log.read_snapshot(SNAPSHOT, 1 << 30).is_none());
}

fn voter(id: i32) -> VoterNode {
    let key = ReplicaKey { id: NodeId(id), directory: DirectoryId(id as u128) };
    let name = "CONTROLLER".to_owned();
    let endpoint = VoterEndpoint { name, host: "127.0.0.1".to_owned(), port: 9000 + id as u16 };
    VoterNode { key, endpoints: vec![endpoint] }
}

fn keys(nodes: &[VoterNode]) -> Voters {
    nodes.iter().map(|node| node.key).collect()
}

/// A directory as a quorum of these voters is formatted.
fn formatted(voters: &[VoterNode]) -> Home {
    let home = Home::new();
    let (cluster, node) = (ClusterId(5), voters[0].key.id);
    let properties = MetaProperties { cluster, node, directory: voters[0].key.directory };
    format_voter(home.0.path(), properties, voters).unwrap();
    home
}

#[test]
fn a_formatted_quorum_knows_its_voters_before_its_log_has_a_record() {
    let voters = [voter(1), voter(2), voter(3)];
    let home = formatted(&voters);
    let (log, _) = home.open();
    let record = log.voters_below(Offset::ZERO).unwrap();
    assert_eq!((record.offset, record.voters), (VotersRecord::BOOTSTRAP, keys(&voters)));
    assert_eq!(log.voters(), voters);
    assert_eq!(log.snapshot(), None, "it is no snapshot of anything");
    let other = Home::new();
    let (unformatted, _) = other.open();
    assert_eq!(unformatted.voters_below(Offset(9)), None);
}

#[test]
fn the_voters_follow_the_log_and_outlive_a_restart() {
    let home = formatted(&[voter(1)]);
    let (mut log, _) = home.open();
    log.append_leader_change(Epoch(1), NodeId(1));
    log.append_voters(Epoch(1), &keys(&[voter(1)]));
    assert!(log.note_endpoints(voter(2)));
    log.append_voters(Epoch(1), &keys(&[voter(1), voter(2)]));
    propose(&mut log, 1, b"record");
    flush(&mut log);
    let (before, after) = ([voter(1)], [voter(1), voter(2)]);
    drop(log);
    let (mut log, _) = home.open();
    assert_eq!(log.voters(), after, "endpoints and all");
    assert_eq!(log.voters_below(Offset(3)).unwrap().offset, Offset(2));
    assert_eq!(log.voters_below(Offset(2)).unwrap().voters, keys(&before));
    log.truncate(Offset(2));
    assert_eq!(log.voters(), before);
    log.truncate(Offset(1));
    assert_eq!(log.voters_below(log.end()).unwrap().offset, VotersRecord::BOOTSTRAP);
}

#[test]
fn a_follower_learns_the_voters_from_the_bytes_that_it_fetches() {
    let leaders = formatted(&[voter(1)]);
    let (mut leader, _) = leaders.open();
    leader.append_leader_change(Epoch(1), NodeId(1));
    leader.append_voters(Epoch(1), &keys(&[voter(1)]));
    propose(&mut leader, 1, b"record");
    let home = Home::new();
    let (mut follower, _) = home.open();
    follower.append(leader.read(Offset::ZERO));
    assert_eq!(follower.voters(), [voter(1)]);
}

#[test]
fn a_snapshot_holds_the_voters_of_its_end() {
    let home = formatted(&[voter(1)]);
    let (mut log, _) = home.open();
    log.append_leader_change(Epoch(1), NodeId(1));
    log.append_voters(Epoch(1), &keys(&[voter(1)]));
    log.note_endpoints(voter(2));
    log.append_voters(Epoch(1), &keys(&[voter(1), voter(2)]));
    flush(&mut log);
    let id = SnapshotId { end: Offset(2), epoch: Epoch(1) };
    let writer = log.snapshots().create(id, 7, log.voters_at(id.end)).unwrap();
    writer.finish().unwrap();
    log.snapshots().delete_before(id).unwrap();
    log.cut_to_snapshot(id);
    assert_eq!(log.voters_below(id.end).unwrap().voters, keys(&[voter(1)]));
    assert_eq!(log.voters(), [voter(1), voter(2)]);
    drop(log);
    let (log, _) = home.open();
    assert_eq!(log.voters_below(id.end).unwrap().voters, keys(&[voter(1)]), "from the snapshot");
    assert_eq!(log.voters(), [voter(1), voter(2)], "from the log behind it");

    // Who fetches the snapshot gets them with it.
    let other = Home::new();
    let (mut fetcher, _) = other.open();
    let (chunk, last) = log.read_snapshot(id, 0).unwrap();
    fetcher.snapshots().store_chunk(id, 0, &chunk.bytes, last).unwrap();
    fetcher.cut_to_snapshot(id);
    assert_eq!(fetcher.voters(), [voter(1)]);
}

#[test]
fn a_voters_record_that_cannot_be_read_stops_the_process() {
    let home = formatted(&[voter(1)]);
    let (mut log, _) = home.open();
    let key = [0, 0, 0, 6];
    let records = [(Some(&key[..]), &[0, 9, 9][..])];
    log.append(Records::build_keyed(log.end(), 1, 1, true, records.into_iter()));
    assert!(log.failure().is_some(), "going on with other voters than the rest would be worse");
}
