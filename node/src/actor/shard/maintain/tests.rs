//! Which stops are clean.

use std::path::Path;

use kraft_model::NodeId;

use super::super::command::Command;
use super::super::testing::{ID, batch, create, shard};
use super::*;
use crate::storage::Checkpoint;

/// Stops the shard in order; whether the stop may be called clean.
async fn stop(shard: &mut Shard) -> bool {
    let (done, is_done) = oneshot::channel();
    shard.shut_down(done);
    is_done.await.is_ok()
}

fn recovery_point(home: &Path) -> Option<Offset> {
    let all = Checkpoint::RecoveryPoint.read(home).expect("it is readable");
    all.get(&("t".to_owned(), 0)).copied()
}

#[tokio::test]
async fn a_stop_with_a_flush_on_its_way_is_clean_if_all_gets_to_disk() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let (mut shard, _commands) = shard(home.path());
    create(&mut shard).log.append(batch(0, 1, &[b"a"]));
    shard.flushes.want(ID);
    shard.start_flush();
    assert!(stop(&mut shard).await);
    assert_eq!(recovery_point(home.path()), Some(Offset(1)));
}

#[tokio::test]
async fn a_stop_is_not_clean_once_a_log_has_failed() {
    for is_moved_away in [false, true] {
        let home = tempfile::tempdir().expect("a directory for the test");
        let (mut shard, _commands) = shard(home.path());
        let slot = create(&mut shard);
        let target = slot.log.dir().join("00000000000000000000.log");
        std::os::unix::fs::symlink("/dev/full", target).expect("a link is made");
        slot.log.append(batch(0, 1, &[b"a"]));
        shard.step(ID, Event::Silent(NodeId(2)));
        assert!(shard.slots[&ID].is_offline);
        if is_moved_away {
            shard.slots.remove(&ID);
        }
        assert!(!stop(&mut shard).await);
    }
}

#[tokio::test]
async fn a_stop_is_not_clean_if_a_flush_has_failed_or_is_about_to() {
    for is_told in [false, true] {
        let home = tempfile::tempdir().expect("a directory for the test");
        let (mut shard, mut commands) = shard(home.path());
        shard.flushes.created(&home.path().join("nowhere/t-0"));
        shard.start_flush();
        if is_told {
            let told = commands.recv().await.expect("the flush ends").command;
            let Command::Flushed { group, named } = told else { panic!("a flush was under way") };
            shard.flushed(group, named);
        }
        assert!(!stop(&mut shard).await);
    }
}

#[tokio::test]
async fn logs_that_nobody_has_asked_for_yet_are_brought_to_disk_too() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let (mut killed, _commands) = shard(home.path());
    create(&mut killed).log.append(batch(0, 1, &[b"a"]));
    drop(killed);
    let (mut shard, _commands) = shard(home.path());
    assert_eq!(shard.found.len(), 1);
    assert!(stop(&mut shard).await);
    assert_eq!(recovery_point(home.path()), Some(Offset(1)));
}
