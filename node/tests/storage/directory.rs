//! Formatting, taking and leaving a log directory.

use kraft_model::{BrokerEpoch, ClusterId, NodeId, Offset};
use kraft_node::storage::{Checkpoint, LogDirectory, PartitionOffsets, StorageError, format};

use crate::support::directory;

const CLUSTER: ClusterId = ClusterId(0x1234_5678);

#[test]
fn a_directory_is_formatted_once_and_keeps_its_identity() {
    let dir = directory();
    assert!(matches!(LogDirectory::open(dir.path()), Err(StorageError::NotFormatted { .. })));
    let formatted = format(dir.path(), CLUSTER, NodeId(1001)).unwrap();
    assert!(matches!(
        format(dir.path(), CLUSTER, NodeId(2)),
        Err(StorageError::AlreadyFormatted { node: NodeId(1001), .. })
    ));
    let opened = LogDirectory::open(dir.path()).unwrap();
    assert_eq!(opened.properties, formatted);
}

#[test]
fn what_apache_kafka_or_anybody_else_wrote_is_refused_and_untouched() {
    let dir = directory();
    let kafkas = "#\n#Mon Jan 01 00:00:00 UTC 2024\nversion=1\nnode.id=1\n\
                  cluster.id=TWtVM09FVkJOVGN3TlRKRQ\ndirectory.id=TWtVM09FVkJOVGN3TlRKRQ\n";
    let path = dir.path().join("meta.properties");
    std::fs::write(&path, kafkas).unwrap();
    for result in
        [format(dir.path(), CLUSTER, NodeId(1)).map(drop), LogDirectory::open(dir.path()).map(drop)]
    {
        assert!(matches!(result, Err(StorageError::ForeignKafka { .. })), "{result:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), kafkas);

    let dir = directory();
    std::fs::write(dir.path().join("thesis.tex"), "").unwrap();
    let refused = format(dir.path(), CLUSTER, NodeId(1));
    assert!(matches!(refused, Err(StorageError::ForeignFiles { .. })), "{refused:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_directory_in_use_is_refused_with_its_users_process_id() {
    let dir = directory();
    format(dir.path(), CLUSTER, NodeId(1)).unwrap();
    let held = LogDirectory::open(dir.path()).unwrap();
    let pid = std::process::id();
    match LogDirectory::open(dir.path()) {
        Err(StorageError::Locked { pid: Some(found), .. }) => assert_eq!(found, pid),
        other => panic!("{other:?}"),
    }
    drop(held);
    LogDirectory::open(dir.path()).unwrap();
}

#[test]
fn a_kill_leaves_the_broker_epoch_of_its_registration_as_long_as_the_machine_is_up() {
    let dir = directory();
    format(dir.path(), CLUSTER, NodeId(1)).unwrap();
    let used = LogDirectory::open(dir.path()).unwrap();
    assert_eq!(used.intact, None, "nobody has registered");
    used.registered(BrokerEpoch(7)).unwrap();
    // A process that is killed does nothing more than this.
    drop(used);
    let found = LogDirectory::open(dir.path()).unwrap();
    assert_eq!((found.clean_stop, found.intact), (None, Some(BrokerEpoch(7))));
    drop(found);
    std::fs::write(dir.path().join(".kraft_session"), "7 another-boot\n").unwrap();
    assert_eq!(LogDirectory::open(dir.path()).unwrap().intact, None);
}

#[test]
fn only_a_clean_stop_leaves_its_broker_epoch_and_only_once() {
    let dir = directory();
    format(dir.path(), CLUSTER, NodeId(1)).unwrap();
    let opened = LogDirectory::open(dir.path()).unwrap();
    assert_eq!(opened.clean_stop, None);
    opened.close(BrokerEpoch(42)).unwrap();
    let opened = LogDirectory::open(dir.path()).unwrap();
    assert_eq!(opened.clean_stop, Some(BrokerEpoch(42)));
    drop(opened);
    assert_eq!(LogDirectory::open(dir.path()).unwrap().clean_stop, None);
}

#[test]
fn a_damaged_checkpoint_makes_the_stop_unclean() {
    let dir = directory();
    format(dir.path(), CLUSTER, NodeId(1)).unwrap();
    let offsets = PartitionOffsets::from([(("t".to_owned(), 0), Offset(5))]);
    Checkpoint::RecoveryPoint.write(dir.path(), &offsets).unwrap();
    LogDirectory::open(dir.path()).unwrap().close(BrokerEpoch(1)).unwrap();
    let opened = LogDirectory::open(dir.path()).unwrap();
    assert_eq!((&opened.recovery_points, opened.clean_stop), (&offsets, Some(BrokerEpoch(1))));
    opened.close(BrokerEpoch(1)).unwrap();
    std::fs::write(dir.path().join("recovery-point-offset-checkpoint"), "0\n7\nt 0 5\n").unwrap();
    let opened = LogDirectory::open(dir.path()).unwrap();
    assert_eq!((opened.clean_stop, opened.damaged_checkpoints.len()), (None, 1));
}

#[test]
fn partitions_are_found_by_their_names() {
    let dir = directory();
    format(dir.path(), CLUSTER, NodeId(1)).unwrap();
    for name in ["a-b-12", "a-0", "__cluster_metadata-0", "a-1.0123-delete", "lost+found"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let opened = LogDirectory::open(dir.path()).unwrap();
    let (partitions, deleted) = opened.partitions().unwrap();
    let names: Vec<_> = partitions.iter().map(|p| (p.topic.as_str(), p.partition)).collect();
    assert_eq!(names, [("a", 0), ("a-b", 12)]);
    assert_eq!(deleted, [dir.path().join("a-1.0123-delete")]);
}
