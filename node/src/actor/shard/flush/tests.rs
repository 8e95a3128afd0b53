//! What a flush that is over says, and of which log.

use super::super::publish::Publication;
use super::super::testing::{ID, batch, create, shard};
use super::*;
use crate::storage::{LogConfig, OpenFiles, PartitionLog};

#[tokio::test]
async fn what_became_of_an_earlier_log_of_a_partition_says_nothing_of_the_present_one() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let (mut shard, mut commands) = shard(home.path());
    let log = &mut create(&mut shard).log;
    log.append(batch(0, 1, &[b"a"]));
    let earlier = log.number();
    shard.flushes.want(ID);
    shard.start_flush();
    let late = commands.recv().await.expect("the flush ends").command;

    // The partition is moved away, and back.
    let image = std::sync::Arc::clone(&shard.image);
    shard.apply(Publication { image, present: Vec::new(), gone: vec![ID] });
    create(&mut shard).log.append(batch(0, 1, &[b"b"]));
    let Command::Flushed { group, named } = late else { panic!("a flush was under way") };
    shard.flushed(group, named);
    assert_eq!(shard.slots[&ID].log.flushed().0, 0, "nothing of the new log is on disk");
    let failed = FlushedLog { id: ID, log: earlier, result: Err("it is gone".to_owned()) };
    shard.flushed(vec![failed], None);
    assert!(!shard.slots[&ID].is_offline);

    shard.flushes.want(ID);
    shard.start_flush();
    let Some(Command::Flushed { group, named }) = commands.recv().await.map(|told| told.command)
    else {
        panic!("a flush was under way")
    };
    shard.flushed(group, named);
    assert_eq!(shard.slots[&ID].log.flushed().0, 1);
}

#[test]
fn a_job_that_waits_keeps_its_place() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = LogConfig { segment_bytes: 1, ..LogConfig::default() };
    let (id, home, files) = (TopicPartition::default(), dir.path().join("t-0"), OpenFiles::new(8));
    let mut log = PartitionLog::create(&home, id.topic, config, files).expect("it is created");
    let mut flushes = Flushes::default();
    flushes.want_sealed(id, || log.sealed_flush_job());
    assert!(flushes.is_empty(), "nothing is sealed yet");
    (0..2).for_each(|base| log.append(batch(base, 1, &[b"a"])));
    flushes.want_sealed(id, || log.sealed_flush_job());
    assert_eq!(flushes.sealed.len(), 1);
    flushes.want_sealed(id, || panic!("what the waiting job has taken over would be lost"));
}
