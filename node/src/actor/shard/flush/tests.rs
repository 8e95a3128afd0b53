//! What a flush that is over says, and of which log.

use super::super::publish::Publication;
use super::super::testing::{ID, batch, create, shard};
use super::*;

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
