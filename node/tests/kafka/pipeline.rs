//! Many requests of one connection at once.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kraft_node::kafka::{ConnectionError, ConnectionLimits, FrameError};
use proto_kafka::messages::{ApiVersionsRequest, FetchRequest, ProduceRequest};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, Semaphore};

use crate::client::{Client, batch, encoded, framed, run};
use crate::data::{fetch, produce};
use crate::fake::FakeBackend;
use crate::samples::{Sample, TOPIC};

#[test]
fn batches_of_one_connection_are_submitted_in_order_before_the_first_is_acknowledged() {
    run(async {
        let backend = FakeBackend::new();
        backend.add_topic(TOPIC, 1);
        let gate = Rc::new(Notify::new());
        *backend.gate.borrow_mut() = Some(gate.clone());
        let mut client = Client::connect(&backend);
        let batches: Vec<_> = (0..20u8).map(|i| batch(1, &[i; 10]).freeze()).collect();
        let mut ids = Vec::new();
        for batch in &batches {
            ids.push(client.send(&produce(TOPIC, 0, -1, batch.clone()), 9).await);
        }
        while backend.submitted().len() < batches.len() {
            tokio::task::yield_now().await;
        }
        assert_eq!(backend.submitted(), batches, "all are in the log, in order");
        // All are acknowledged at once, and leave in order.
        *backend.gate.borrow_mut() = None;
        gate.notify_waiters();
        for (id, offset) in ids.into_iter().zip(0..) {
            let response = client.receive::<ProduceRequest>(id, 9).await;
            let partition = &response.responses[0].partition_responses[0];
            assert_eq!((partition.error_code, partition.base_offset), (0, offset));
        }
    });
}

#[test]
fn batches_of_one_connection_keep_their_order_where_the_first_has_to_wait() {
    run(async {
        let backend = FakeBackend::new();
        backend.add_topic(TOPIC, 1);
        let room = Rc::new(Notify::new());
        *backend.room.borrow_mut() = Some(room.clone());
        let mut client = Client::connect(&backend);
        let batches: Vec<_> = (0..5u8).map(|i| batch(1, &[i; 10]).freeze()).collect();
        for batch in &batches {
            client.send(&produce(TOPIC, 0, -1, batch.clone()), 9).await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(backend.submitted().is_empty(), "none overtakes the first");
        room.notify_one();
        while backend.submitted().len() < batches.len() {
            tokio::task::yield_now().await;
        }
        assert_eq!(backend.submitted(), batches);
    });
}

/// Whoever wants no acknowledgement may be gone before its last batch is in the log.
#[test]
fn a_client_that_closes_after_its_last_batch_is_served_to_the_end() {
    run(async {
        let backend = FakeBackend::new();
        backend.add_topic(TOPIC, 1);
        let room = Rc::new(Notify::new());
        *backend.room.borrow_mut() = Some(room.clone());
        let mut client = Client::connect(&backend);
        client.send(&produce(TOPIC, 0, 0, batch(1, &[8; 10]).freeze()), 9).await;
        client.stream.shutdown().await.expect("it is open");
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        room.notify_one();
        client.served.await.expect("no panic").expect("an orderly end");
        assert_eq!(backend.submitted().len(), 1);
    });
}

#[test]
fn a_batch_that_gets_room_takes_it_while_its_client_does_not_read() {
    run(async {
        let backend = FakeBackend::new();
        backend.add_topic(TOPIC, 1);
        let mut client = Client::connect(&backend);
        for _ in 0..4 {
            client.call(&produce(TOPIC, 0, 1, batch(1, &[7; 900_000]).freeze()), 9).await;
        }
        // An answer of more than the socket holds, and nobody who reads it.
        client.send(&fetch(TOPIC, 0, 0), 11).await;
        let room = Rc::new(Notify::new());
        *backend.room.borrow_mut() = Some(room.clone());
        client.send(&produce(TOPIC, 0, -1, batch(1, &[8; 10]).freeze()), 9).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(backend.submitted().len(), 4);
        room.notify_one();
        while backend.submitted().len() < 5 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_batch_is_submitted_while_the_answer_before_it_is_stuck_in_the_socket() {
    run(async {
        let backend = FakeBackend::new();
        backend.add_topic(TOPIC, 1);
        let mut client = Client::connect(&backend);
        for _ in 0..4 {
            client.call(&produce(TOPIC, 0, 1, batch(1, &[7; 900_000]).freeze()), 9).await;
        }
        // An answer of more than the socket holds, and nobody who reads it.
        let large = client.send(&fetch(TOPIC, 0, 0), 11).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let after = client.send(&produce(TOPIC, 0, 1, batch(1, b"after").freeze()), 9).await;
        while backend.submitted().len() < 5 {
            tokio::task::yield_now().await;
        }
        client.receive::<FetchRequest>(large, 11).await;
        client.receive::<ProduceRequest>(after, 9).await;
    });
}

#[test]
fn an_answer_that_is_ready_waits_for_the_one_before_it() {
    run(async {
        let backend = FakeBackend::new();
        backend.add_topic(TOPIC, 1);
        let mut client = Client::connect(&backend);
        let waiting =
            client.send(&fetch(TOPIC, 0, 0).with_min_bytes(1).with_max_wait_ms(10_000), 11).await;
        let ready = client.send(&ApiVersionsRequest::sample(3), 3).await;
        // What ends the first one's wait comes over another connection.
        let mut other = Client::connect(&backend);
        other.call(&produce(TOPIC, 0, 1, batch(1, b"x").freeze()), 9).await;
        let fetched = client.receive::<FetchRequest>(waiting, 11).await;
        let records = fetched.responses[0].partitions[0].records.as_ref();
        assert!(records.is_some_and(|records| !records.is_empty()));
        client.receive::<ApiVersionsRequest>(ready, 3).await;
    });
}

#[test]
fn a_client_that_has_closed_its_sending_side_still_gets_its_answers() {
    run(async {
        let backend = FakeBackend::new();
        let mut client = Client::connect(&backend);
        let id = client.send(&ApiVersionsRequest::sample(3), 3).await;
        client.stream.shutdown().await.expect("half closed");
        client.receive::<ApiVersionsRequest>(id, 3).await;
        assert!(client.frame().await.is_none(), "then the server closes as well");
        client.end().await.expect("an orderly end");
    });
}

#[test]
fn request_memory_is_given_back_once_a_request_is_answered() {
    run(async {
        let backend = FakeBackend::new();
        let limits =
            ConnectionLimits { memory: Arc::new(Semaphore::new(2_000)), ..Default::default() };
        let memory = limits.memory.clone();
        let mut client = Client::connect_with(&backend, limits);
        for _ in 0..100 {
            client.call(&ApiVersionsRequest::sample(3), 3).await;
        }
        client.end().await.expect("an orderly end");
        assert_eq!(memory.available_permits(), 2_000);
    });
}

#[test]
fn a_frame_waits_for_request_memory_that_another_holds() {
    run(async {
        let backend = FakeBackend::new();
        let limits =
            ConnectionLimits { memory: Arc::new(Semaphore::new(100)), ..Default::default() };
        let memory = limits.memory.clone();
        let held = memory.clone().acquire_many_owned(100).await.expect("open");
        let mut client = Client::connect_with(&backend, limits);
        let id = client.send(&ApiVersionsRequest::sample(3), 3).await;
        let early = tokio::time::timeout(Duration::from_millis(50), client.frame()).await;
        assert!(early.is_err(), "nothing is answered without memory");
        drop(held);
        client.receive::<ApiVersionsRequest>(id, 3).await;
    });
}

#[test]
fn a_silent_client_is_closed_but_not_one_that_waits_for_an_answer() {
    run(async {
        let backend = FakeBackend::new();
        backend.add_topic(TOPIC, 1);
        let idle = Duration::from_millis(30);
        let limits = ConnectionLimits { idle, ..Default::default() };
        let mut waiting = Client::connect_with(&backend, limits.clone());
        let fetch = fetch(TOPIC, 0, 0).with_min_bytes(1).with_max_wait_ms(200);
        waiting.call(&fetch, 11).await;
        let mut silent = Client::connect_with(&backend, limits);
        assert!(silent.frame().await.is_none());
        let ended = silent.end().await;
        assert!(matches!(ended, Err(ConnectionError::Frame(FrameError::Idle))), "{ended:?}");
    });
}

#[test]
fn a_frame_that_does_not_come_to_its_end_is_given_up() {
    run(async {
        let frame = Duration::from_millis(30);
        let limits = ConnectionLimits { frame, ..Default::default() };
        let memory = limits.memory.clone();
        let all = memory.available_permits();
        let mut client = Client::connect_with(&FakeBackend::new(), limits);
        let whole = framed(&encoded(&ApiVersionsRequest::sample(3), 3, 1));
        client.stream.write_all(&whole[..whole.len() - 1]).await.expect("taken");
        assert!(client.frame().await.is_none());
        let ended = client.end().await;
        assert!(matches!(ended, Err(ConnectionError::Frame(FrameError::Slow))), "{ended:?}");
        assert_eq!(memory.available_permits(), all);
    });
}
