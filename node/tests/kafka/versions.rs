//! Every API in every version that is advertised is understood and answered in its form.

use proto_kafka::messages::{ApiVersionsRequest, ApiVersionsResponse, ResponseHeader};
use proto_kafka::protocol::{Decodable, Request};
use std::future::Future;
use std::pin::Pin;
use tokio::io::AsyncWriteExt;

use crate::client::{Client, encoded, framed, run};
use crate::fake::FakeBackend;
use crate::samples::{Sample, TOPIC, Visit, every_version};
use kraft_node::kafka::decode_request;

type Calls = Vec<Box<dyn FnOnce(FakeBackend) -> Pin<Box<dyn Future<Output = ()>>>>>;

#[derive(Default)]
struct Collect(Calls);

impl Visit for Collect {
    fn visit<R: Sample>(&mut self, version: i16) {
        self.0.push(Box::new(move |backend| {
            Box::pin(async move {
                let mut client = Client::connect(&backend);
                client.call(&R::sample(version), version).await;
                client.end().await.unwrap_or_else(|error| {
                    panic!("API {} version {version}: {error:?}", R::KEY);
                });
            })
        }));
    }
}

#[test]
fn every_version_of_every_api_is_answered_in_its_own_form() {
    run(async {
        let mut calls = Collect::default();
        every_version(&mut calls);
        for call in calls.0 {
            let backend = FakeBackend::new();
            backend.add_topic(TOPIC, 2);
            call(backend).await;
        }
    });
}

#[test]
fn every_version_is_answered_when_no_controller_is_up_and_nothing_exists() {
    run(async {
        let mut calls = Collect::default();
        every_version(&mut calls);
        for call in calls.0 {
            let backend = FakeBackend::new();
            backend.lose_controller();
            call(backend).await;
        }
    });
}

struct Walked;

impl Visit for Walked {
    fn visit<R: Sample>(&mut self, version: i16) {
        let mut frame = encoded(&R::sample(version), version, 4).freeze();
        let request = decode_request(&mut frame)
            .unwrap_or_else(|error| panic!("API {} version {version}: {error:?}", R::KEY));
        assert_eq!((request.correlation_id, request.client_id.as_deref()), (4, Some("test")));
        assert!(frame.is_empty(), "API {} version {version} leaves {frame:?}", R::KEY);
    }
}

#[test]
fn the_shape_of_every_version_agrees_with_the_codec_to_the_last_byte() {
    every_version(&mut Walked);
}

#[test]
fn an_api_versions_request_from_the_future_is_answered_in_version_0_with_what_is_served() {
    run(async {
        let mut client = Client::connect(&FakeBackend::new());
        // A body of no form that we know.
        let mut request = encoded(&ApiVersionsRequest::sample(4), 4, 9);
        request[2..4].copy_from_slice(&5i16.to_be_bytes());
        request.extend_from_slice(b"\x01\x02new");
        client.stream.write_all(&framed(&request)).await.expect("taken");
        let mut frame = client.frame().await.expect("the connection stays open");
        let header = ResponseHeader::decode(&mut frame, 0).expect("a header");
        let response = ApiVersionsResponse::decode(&mut frame, 0).expect("a version 0 body");
        assert_eq!((header.correlation_id, response.error_code), (9, 35));
        let own = response.api_keys.iter().find(|key| key.api_key == ApiVersionsRequest::KEY);
        assert_eq!(own.map(|key| key.max_version), Some(4));
        let again = client.call(&ApiVersionsRequest::sample(4), 4).await;
        assert_eq!(again.error_code, 0);
    });
}

#[test]
fn produce_is_advertised_from_0_and_features_with_a_minimum_of_0_only_from_version_4() {
    run(async {
        let mut client = Client::connect(&FakeBackend::new());
        for version in [3, 4] {
            let response = client.call(&ApiVersionsRequest::sample(version), version).await;
            let produce = response.api_keys.iter().find(|key| key.api_key == 0).expect("Produce");
            assert_eq!((produce.min_version, produce.max_version), (0, 11));
            assert!(response.api_keys.iter().all(|key| key.api_key != 10), "no FindCoordinator");
            let names: Vec<_> = response.supported_features.iter().map(|f| &*f.name).collect();
            assert_eq!(names.contains(&"group.version"), version == 4, "version {version}");
            let metadata = &response.finalized_features[0];
            assert_eq!((&*metadata.name, metadata.max_version_level), ("metadata.version", 25));
        }
    });
}
