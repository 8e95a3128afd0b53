//! The client against a broker that misbehaves.

use std::time::Duration;

use kraft_model::ErrorCode;

use super::fake::{FakeBroker, Fault, TOPIC};
use super::{Client, ClientError, ClientOptions, Consumer, ConsumerConfig, Start};
use super::{Producer, ProducerConfig};

fn client(broker: &FakeBroker) -> Client {
    Client::new(ClientOptions {
        total_timeout: Duration::from_secs(10),
        ..ClientOptions::new(vec![broker.address.clone()])
    })
}

/// Small batches, so that many are in flight at once.
fn config() -> ProducerConfig {
    ProducerConfig { batch_bytes: 128, linger: Duration::ZERO, ..ProducerConfig::default() }
}

async fn produce(broker: &FakeBroker, config: ProducerConfig) -> Result<u64, ClientError> {
    let client = client(broker);
    let producer = Producer::open(&client, TOPIC, config).await?;
    for number in 0..100 {
        producer.send(0, None, Some(number.to_string().as_bytes())).await?;
    }
    producer.close().await
}

async fn consumed(broker: &FakeBroker) -> Vec<String> {
    let client = client(broker);
    let config = ConsumerConfig { max_wait: Duration::from_millis(10), ..Default::default() };
    let mut consumer =
        Consumer::open(&client, TOPIC, &[], Start::Earliest, config).await.expect("it opens");
    let ends = consumer.end_offsets().await.expect("offsets are listed");
    let (mut values, mut scratch) = (Vec::new(), Vec::new());
    while !consumer.has_reached(&ends) {
        let fetched = consumer.next().await.expect("records come");
        for batch in &fetched.batches {
            let read = batch.for_each_record(&mut scratch, |record| {
                let value = record.value.unwrap_or_default();
                values.push(String::from_utf8_lossy(value).into_owned());
            });
            read.expect("the batch is well-formed");
        }
    }
    values
}

fn hundred() -> Vec<String> {
    (0..100).map(|number: i32| number.to_string()).collect()
}

#[tokio::test]
async fn callers_that_need_the_same_broker_at_once_share_one_connection() {
    let broker = FakeBroker::start().await;
    let client = client(&broker);
    let (first, second) = tokio::join!(client.any(), client.any());
    let (first, second) = (first.expect("it answers"), second.expect("it answers"));
    assert!(std::sync::Arc::ptr_eq(&first, &second), "two connections may reorder requests");
}

#[tokio::test]
async fn what_is_produced_is_consumed_in_order() {
    let broker = FakeBroker::start().await;
    assert_eq!(produce(&broker, config()).await.expect("all is acknowledged"), 100);
    assert_eq!(consumed(&broker).await, hundred());
}

#[tokio::test]
async fn refused_and_lost_batches_are_sent_again_once_and_in_order() {
    let broker = FakeBroker::start().await;
    broker.fail_with(&[
        Fault::Refuse(ErrorCode::NotLeaderOrFollower),
        Fault::LoseAnswer,
        Fault::LoseRequest,
        Fault::LoseAnswer,
        Fault::Refuse(ErrorCode::NotEnoughReplicas),
    ]);
    assert_eq!(produce(&broker, config()).await.expect("all is acknowledged"), 100);
    assert_eq!(consumed(&broker).await, hundred());
}

#[tokio::test]
async fn a_lost_answer_writes_twice_without_idempotence() {
    let broker = FakeBroker::start().await;
    broker.fail_with(&[Fault::LoseAnswer]);
    let config = ProducerConfig { idempotent: false, ..config() };
    produce(&broker, config).await.expect("all is acknowledged");
    assert!(consumed(&broker).await.len() > 100, "the broker could not know");
}

#[tokio::test]
async fn a_final_refusal_ends_the_producer() {
    let broker = FakeBroker::start().await;
    broker.fail_with(&[Fault::Refuse(ErrorCode::MessageTooLarge)]);
    let error = produce(&broker, config()).await.expect_err("it is too large");
    assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge.code()));
}

#[tokio::test]
async fn a_leader_that_is_being_elected_is_waited_for() {
    let broker = FakeBroker::start().await;
    broker.hide_leader(3);
    assert_eq!(produce(&broker, config()).await.expect("a leader appears"), 100);
}

#[tokio::test]
async fn an_old_broker_is_asked_in_its_own_version() {
    let broker = FakeBroker::start().await;
    broker.speak_only_old_versions();
    assert_eq!(produce(&broker, config()).await.expect("version 0 is enough"), 100);
}

#[tokio::test]
async fn a_partition_that_does_not_exist_is_named() {
    let broker = FakeBroker::start().await;
    let config = ProducerConfig { partition: Some(5), ..config() };
    let error = produce(&broker, config).await.expect_err("there is only partition 0");
    assert_eq!(error.to_string(), "topic 't' has no partition 5");
}

#[tokio::test]
async fn without_any_broker_every_address_that_was_tried_is_named() {
    let broker = FakeBroker::start().await;
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.local_addr().expect("it is bound").to_string()
    };
    let options = ClientOptions {
        total_timeout: Duration::from_millis(50),
        ..ClientOptions::new(vec![nobody.clone()])
    };
    let error = Client::new(options.clone()).metadata(None).await.expect_err("nobody listens");
    assert!(error.to_string().contains(&nobody), "{error}");
    let bootstrap = vec![nobody, broker.address.clone()];
    let client = Client::new(ClientOptions { bootstrap, ..options });
    assert!(client.metadata(None).await.is_ok(), "the second address answers");
}
