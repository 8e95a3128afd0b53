//! Names and checkpoints of partitions that come and go.

use std::sync::Barrier;

use kraft_model::TopicId;

use super::*;
use crate::actor::shard::offsets::next_number;

const SIX: Offset = Offset(6);

fn id(topic: u64) -> TopicPartition {
    TopicPartition { topic: TopicId::drawn(topic, 0), partition: 0 }
}

/// A process that begins on the directory, after a kill.
fn disks(home: &Path, is_intact: bool) -> Disks {
    let directory = LogDirectory { path: home.to_owned(), was_clean: false, is_intact };
    Disks::new(vec![directory], 8).expect("the directory is usable")
}

/// High watermarks, and whether anything is damaged, as a process finds them that begins.
fn found(home: &Path, is_intact: bool) -> (Vec<Offset>, bool) {
    let all = disks(home, is_intact);
    let opened = all.open_all(LogConfig::default(), 1).expect("it opens");
    let offsets = opened.logs.iter().map(|(_, log)| log.high_watermark).collect();
    (offsets, opened.has_damage)
}

/// For what deletes files when there is time.
fn deletes() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

fn create(disks: &Disks, topic: u64) -> FoundLog {
    disks.create(&"t".into(), id(topic), LogConfig::default()).expect("it is created")
}

fn mark(log: &FoundLog, topic: u64, recovery_point: Offset) -> Mark {
    Mark {
        directory: log.directory.clone(),
        topic: log.topic.clone(),
        id: id(topic),
        log: log.log.number(),
        high_watermark: SIX,
        recovery_point,
        log_start: Offset(0),
        taken: next_number(),
    }
}

#[test]
fn a_high_watermark_from_before_a_power_failure_is_never_believed_again() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let first = disks(home.path(), true);
    let log = create(&first, 1);
    first.checkpoint(vec![mark(&log, 1, Offset(0))]).expect("it is written");
    assert_eq!(found(home.path(), true), (vec![SIX], false));
    assert_eq!(found(home.path(), false), (vec![Offset(0)], false));
    // Killed before it wrote a checkpoint of its own.
    assert_eq!(found(home.path(), true), (vec![Offset(0)], false));
}

#[test]
fn a_topic_that_takes_a_name_over_does_not_take_over_where_the_other_one_stood() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let runtime = deletes();
    let _within = runtime.enter();
    let disks = disks(home.path(), true);
    let old = create(&disks, 1);
    let late = mark(&old, 1, SIX);
    disks.checkpoint(vec![mark(&old, 1, SIX)]).expect("it is written");
    disks.delete(old.log, &old.topic, id(1));
    create(&disks, 2);
    assert_eq!(found(home.path(), true), (vec![Offset(0)], false));
    disks.checkpoint(vec![late]).expect("it is written");
    assert_eq!(found(home.path(), true), (vec![Offset(0)], false), "of a topic that is gone");
}

#[test]
fn a_partition_that_comes_back_does_not_stand_where_its_earlier_log_stood() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let runtime = deletes();
    let _within = runtime.enter();
    let disks = disks(home.path(), true);
    let old = create(&disks, 1);
    let late = mark(&old, 1, SIX);
    disks.delete(old.log, &old.topic, id(1));
    let new = create(&disks, 1);
    disks.checkpoint(vec![late]).expect("it is written");
    assert_eq!(found(home.path(), true), (vec![Offset(0)], false));
    disks.checkpoint(vec![mark(&new, 1, Offset(0))]).expect("it is written");
    assert_eq!(found(home.path(), true), (vec![SIX], false));
}

#[test]
fn a_name_passes_to_the_next_topic_while_another_shard_deletes_the_one_before() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let runtime = deletes();
    let disks = disks(home.path(), true);
    let within = runtime.enter();
    let mut last = create(&disks, 1);
    drop(within);
    for topic in 2..500 {
        let start = Barrier::new(2);
        last = thread::scope(|scope| {
            let deleting = scope.spawn(|| {
                let _within = runtime.enter();
                start.wait();
                disks.delete(last.log, &last.topic, id(topic - 1));
            });
            let _within = runtime.enter();
            start.wait();
            let made = create(&disks, topic);
            deleting.join().expect("no panic");
            made
        });
        let path = home.path().join("t-0");
        let owner = topic_id(home.path(), &path).expect("it is readable");
        assert_eq!(owner, Some(id(topic).topic), "the newest topic has the name");
    }
}

#[test]
fn a_partition_in_two_directories_is_refused_and_both_are_named() {
    let homes = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory"));
    homes.iter().for_each(|home| drop(create(&disks(home.path(), true), 1)));
    let both = homes.each_ref().map(|home| home.path().to_owned());
    let both = both.map(|path| LogDirectory { path, was_clean: true, is_intact: true });
    let disks = Disks::new(both.to_vec(), 8).expect("the directories are usable");
    let error = disks.open_all(LogConfig::default(), 1).err().expect("it is refused");
    for home in &homes {
        let path = home.path().join("t-0").display().to_string();
        assert!(error.to_string().contains(&path), "{error}");
    }
}
