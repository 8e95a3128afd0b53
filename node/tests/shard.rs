//! Partitions on shards and the replication between brokers: several brokers' partitions in one
//! process, over real logs.

mod shard_support;

use std::time::{Duration, Instant};

use kraft_model::log::Log;
use kraft_model::replica::Acks;
use kraft_model::{ErrorCode, NodeId, Offset};
use kraft_node::kafka::ListOffset;
use kraft_node::storage::{Checkpoint, LogConfig, OpenFiles, OpenState, PartitionLog, Recovery};
use shard_support::{Cluster, eventually, fetch, id, produce, run, values};

/// Followers are missed after 300 ms instead of Kafka's 30 s.
const LAG: &[&str] = &["replica.lag.time.max.ms=300", "replica.fetch.wait.max.ms=100"];

#[test]
fn an_acknowledged_record_is_on_every_in_sync_replica() {
    run(async {
        let cluster = Cluster::start(3, &[]).await;
        cluster.create_topic(2, &[1, 2, 3]);
        for (index, value) in ["a", "b", "c"].into_iter().enumerate() {
            let produced = produce(&cluster.broker(1), 0, value, Acks::All).await;
            assert_eq!(produced.map(|produced| produced.base), Ok(Offset(index as i64)));
        }
        for broker in 1..=3 {
            eventually("every replica knows that the records are committed", async || {
                values(&cluster.broker(broker), 0).await == ["a", "b", "c"]
            })
            .await;
        }
        let refused = produce(&cluster.broker(2), 0, "d", Acks::All).await;
        assert_eq!(refused.map(|_| ()), Err(ErrorCode::NotLeaderOrFollower));
    });
}

#[test]
fn a_consumer_that_waits_is_woken_by_the_commit() {
    run(async {
        let cluster = Cluster::start(2, &[]).await;
        cluster.create_topic(1, &[1, 2]);
        let (leader, started) = (cluster.broker(1), Instant::now());
        let waiting = fetch(&leader, 0, 0, Duration::from_secs(60));
        let producing = async {
            tokio::task::yield_now().await;
            produce(&leader, 0, "a", Acks::All).await
        };
        let (read, produced) = tokio::join!(waiting, producing);
        assert!(produced.is_ok());
        assert_eq!(read.map(|read| read.records.len()), Ok(1));
        assert!(started.elapsed() < Duration::from_secs(30), "it did not wait its time out");
        let nothing = fetch(&leader, 0, 1, Duration::from_millis(20)).await;
        assert_eq!(nothing.map(|read| read.records.len()), Ok(0));
        let beyond = fetch(&leader, 0, 9, Duration::ZERO).await;
        assert_eq!(beyond.map(|_| ()), Err(ErrorCode::OffsetOutOfRange));
    });
}

#[test]
fn a_follower_that_is_away_leaves_the_isr_and_comes_back() {
    run(async {
        let mut cluster = Cluster::start(3, LAG).await;
        cluster.create_topic(1, &[1, 2, 3]);
        assert!(produce(&cluster.broker(1), 0, "a", Acks::All).await.is_ok());
        assert!(cluster.stop(3).await, "an orderly stop is clean");
        let produced = produce(&cluster.broker(1), 0, "b", Acks::All).await;
        assert!(produced.is_ok(), "the record waits until the ISR is without the follower");
        assert_eq!(cluster.isr(0), [1, 2]);
        cluster.boot(kraft_model::NodeId(3), true).await;
        eventually("the follower is in sync again", async || cluster.isr(0) == [1, 2, 3]).await;
        eventually("it has what it missed", async || {
            values(&cluster.broker(3), 0).await == ["a", "b"]
        })
        .await;
    });
}

#[test]
fn a_follower_that_is_cut_off_is_not_waited_for_and_comes_back() {
    run(async {
        let cluster = Cluster::start(3, LAG).await;
        cluster.create_topic(1, &[1, 2, 3]);
        assert!(produce(&cluster.broker(1), 0, "a", Acks::All).await.is_ok());
        cluster.cut(2);
        assert!(produce(&cluster.broker(1), 0, "b", Acks::All).await.is_ok());
        assert_eq!(cluster.isr(0), [1, 3]);
        cluster.mend(2);
        eventually("it is in sync again", async || cluster.isr(0) == [1, 2, 3]).await;
    });
}

#[test]
fn a_deposed_leader_drops_what_was_never_committed() {
    run(async {
        let cluster = Cluster::start(3, &[]).await;
        cluster.create_topic(1, &[1, 2, 3]);
        assert!(produce(&cluster.broker(1), 0, "a", Acks::All).await.is_ok());
        cluster.cut(1);
        let lost = produce(&cluster.broker(1), 0, "lost", Acks::Leader).await;
        assert_eq!(lost.map(|lost| lost.base), Ok(Offset(1)));
        cluster.elect(0, 2, &[2, 3]);
        assert!(produce(&cluster.broker(2), 0, "b", Acks::All).await.is_ok());
        assert!(produce(&cluster.broker(2), 0, "c", Acks::All).await.is_ok());
        cluster.mend(1);
        eventually("all logs are one", async || {
            let mut all = Vec::new();
            for broker in 1..=3 {
                all.push(values(&cluster.broker(broker), 0).await);
            }
            all.iter().all(|values| *values == ["a", "b", "c"])
        })
        .await;
        eventually("the old leader is in sync", async || cluster.isr(0) == [1, 2, 3]).await;
        assert!(cluster.violations().is_empty(), "{:?}", cluster.violations());
    });
}

/// A partition's log as the next process would find it if this one were killed now.
fn after_a_kill(home: &std::path::Path) -> (PartitionLog, Recovery) {
    let copy = tempfile::tempdir().expect("a directory for the test");
    for entry in std::fs::read_dir(home.join("orders-0")).expect("a log").flatten() {
        // What is deleted meanwhile is none of the log.
        let _ = std::fs::copy(entry.path(), copy.path().join(entry.file_name()));
    }
    let of = |checkpoint: Checkpoint| {
        let all = checkpoint.read(home).expect("a checkpoint");
        all.get(&("orders".to_owned(), 0)).copied().unwrap_or(Offset::ZERO)
    };
    let state = OpenState {
        recovery_point: of(Checkpoint::RecoveryPoint),
        log_start: of(Checkpoint::LogStart),
        high_watermark: of(Checkpoint::HighWatermark),
        ..OpenState::default()
    };
    PartitionLog::open(
        copy.path(),
        shard_support::TOPIC,
        LogConfig::default(),
        OpenFiles::new(8),
        state,
    )
    .expect("the log opens")
}

#[test]
fn what_a_truncation_takes_back_is_not_missed_after_a_kill() {
    run(async {
        let mut cluster = Cluster::start(3, &[]).await;
        cluster.create_topic(1, &[1, 2, 3]);
        assert!(produce(&cluster.broker(1), 0, "a", Acks::All).await.is_ok());
        cluster.cut(1);
        for value in ["lost", "lost too"] {
            assert!(produce(&cluster.broker(1), 0, value, Acks::Leader).await.is_ok());
        }
        // All of it goes to disk, and the checkpoints say so.
        assert!(cluster.stop(1).await);
        cluster.elect(0, 2, &[2, 3]);
        assert!(produce(&cluster.broker(2), 0, "b", Acks::All).await.is_ok());
        cluster.mend(1);
        cluster.boot(NodeId(1), true).await;
        eventually("the old leader has what the new one has", async || {
            values(&cluster.broker(1), 0).await == ["a", "b"]
        })
        .await;
        let (log, recovery) = after_a_kill(cluster.home(1));
        assert_eq!((log.end(), recovery.damage), (Offset(2), None));
    });
}

#[test]
fn a_log_that_begins_anew_before_where_it_began_is_not_wiped_after_a_kill() {
    run(async {
        let mut cluster = Cluster::start(2, &["min.insync.replicas=1"]).await;
        cluster.create_topic(1, &[1, 2]);
        for value in ["a", "b", "c"] {
            assert!(produce(&cluster.broker(1), 0, value, Acks::All).await.is_ok());
        }
        assert_eq!(cluster.broker(1).delete_records(id(0), 2).await, Ok(Offset(2)));
        // The start is in the checkpoints of the one; the other one loses its disk, and leads.
        assert!(cluster.stop(1).await && cluster.stop(2).await);
        std::fs::remove_dir_all(cluster.home(2).join("orders-0")).expect("a log");
        cluster.boot(NodeId(2), true).await;
        cluster.elect(0, 2, &[2]);
        assert!(produce(&cluster.broker(2), 0, "new", Acks::All).await.is_ok());
        cluster.boot(NodeId(1), true).await;
        eventually("it has what the leader has", async || {
            values(&cluster.broker(1), 0).await == ["new"]
        })
        .await;
        let (log, recovery) = after_a_kill(cluster.home(1));
        assert_eq!((log.start(), log.end(), recovery.damage), (Offset(0), Offset(1), None));
    });
}

#[test]
fn acknowledgements_wait_for_the_disk_where_the_operator_says_so() {
    run(async {
        let cluster = Cluster::start(2, &["log.flush=before-ack"]).await;
        cluster.create_topic(1, &[1, 2]);
        for value in ["a", "b"] {
            assert!(produce(&cluster.broker(1), 0, value, Acks::All).await.is_ok());
        }
        eventually("the follower has flushed and learned of the commit", async || {
            values(&cluster.broker(2), 0).await == ["a", "b"]
        })
        .await;
    });
}

#[test]
fn idle_partitions_cost_a_message_for_each_session_and_wait() {
    run(async {
        let cluster = Cluster::start(2, &["replica.fetch.wait.max.ms=200"]).await;
        cluster.create_topic(500, &[1, 2]);
        for partition in [0, 499] {
            assert!(produce(&cluster.broker(1), partition, "a", Acks::All).await.is_ok());
        }
        let turns = || cluster.broker(1).metrics().turns.load(std::sync::atomic::Ordering::Relaxed);
        eventually("the brokers come to rest", async || {
            let before = cluster.messages();
            tokio::time::sleep(Duration::from_millis(400)).await;
            // Silence is no rest: shards that still create logs say nothing.
            (1..=6).contains(&(cluster.messages() - before))
        })
        .await;
        let (began, messages, turns_before) = (Instant::now(), cluster.messages(), turns());
        eventually("ten messages", async || cluster.messages() - messages >= 10).await;
        // Two fetchers say one each in a wait of 200 ms, and one more for the edges, however long it took.
        let waits = began.elapsed().as_millis() as usize / 200 + 1;
        let said = cluster.messages() - messages;
        assert!(said <= 2 * waits, "{said} messages in {waits} waits");
        let turns = (turns() - turns_before) as usize;
        assert!(turns <= 7 * waits, "{turns} turns in {waits} waits");
    });
}

#[test]
fn a_thousand_partitions_are_created_led_and_written_to() {
    run(async {
        let cluster = Cluster::start(1, &["min.insync.replicas=1"]).await;
        cluster.create_topic(1_000, &[1]);
        let broker = cluster.broker(1);
        eventually("the broker leads them all", async || {
            broker.metrics().leaders.load(std::sync::atomic::Ordering::Relaxed) == 1_000
        })
        .await;
        assert!(produce(&broker, 999, "a", Acks::All).await.is_ok());
    });
}

#[test]
fn a_deleted_topic_takes_its_logs_with_it() {
    run(async {
        let cluster = Cluster::start(1, &["min.insync.replicas=1"]).await;
        cluster.create_topic(3, &[1]);
        assert!(produce(&cluster.broker(1), 0, "a", Acks::All).await.is_ok());
        let log = cluster.home(1).join("orders-0");
        assert!(log.is_dir());
        cluster.delete_topic();
        let refused = produce(&cluster.broker(1), 0, "b", Acks::All).await;
        assert_eq!(refused.map(|_| ()), Err(ErrorCode::UnknownTopicOrPartition));
        assert!(!log.exists());
        eventually("the files are deleted", async || {
            let left = std::fs::read_dir(cluster.home(1)).expect("the directory is there");
            left.flatten().all(|entry| !entry.path().is_dir())
        })
        .await;
    });
}

#[test]
fn a_partition_whose_creation_a_kill_cut_short_is_made_anew() {
    run(async {
        let mut cluster = Cluster::start(1, &["min.insync.replicas=1"]).await;
        cluster.create_topic(2, &[1]);
        assert!(produce(&cluster.broker(1), 1, "kept", Acks::All).await.is_ok());
        cluster.stop(1).await;
        // Created and not yet written to; and not even created.
        let path = cluster.home(1).join("orders-0/partition.metadata");
        for cut_short in [true, false] {
            if cut_short {
                std::fs::write(&path, "").expect("the file of a partition");
            } else {
                std::fs::remove_file(&path).expect("the file of a partition");
            }
            cluster.boot(NodeId(1), true).await;
            let value = if cut_short { "a" } else { "b" };
            eventually("the partition takes records", async || {
                produce(&cluster.broker(1), 0, value, Acks::All).await.is_ok()
            })
            .await;
            assert_eq!(values(&cluster.broker(1), 0).await, [value]);
            assert_eq!(values(&cluster.broker(1), 1).await, ["kept"]);
            cluster.stop(1).await;
        }
    });
}

#[test]
fn questions_about_offsets_are_answered_by_the_leader() {
    run(async {
        let cluster = Cluster::start(2, &[]).await;
        cluster.create_topic(1, &[1, 2]);
        let leader = cluster.broker(1);
        for value in ["a", "b", "c"] {
            assert!(produce(&leader, 0, value, Acks::All).await.is_ok());
        }
        let listed = async |query| leader.list_offset(id(0), None, query).await.map(|it| it.offset);
        assert_eq!(listed(ListOffset::Earliest).await, Ok(0));
        assert_eq!(listed(ListOffset::Latest).await, Ok(3));
        assert_eq!(listed(ListOffset::Timestamp(1_000)).await, Ok(0));
        assert_eq!(listed(ListOffset::Timestamp(1_001)).await, Ok(-1));
        let elsewhere = cluster.broker(2).list_offset(id(0), None, ListOffset::Latest).await;
        assert_eq!(elsewhere.map(|_| ()), Err(ErrorCode::NotLeaderOrFollower));
        let end = leader.end_of_epoch(id(0), None, kraft_model::LeaderEpoch(0)).await;
        assert_eq!(end.map(|end| end.end), Ok(Offset(3)));
        assert_eq!(leader.delete_records(id(0), 2).await, Ok(Offset(2)));
        assert_eq!(listed(ListOffset::Earliest).await, Ok(2));
        assert_eq!(leader.delete_records(id(0), 4).await, Err(ErrorCode::OffsetOutOfRange));
    });
}
