//! Frames that lie: each must end as an error of its connection, never as a panic.

use kraft_node::kafka::{
    ConnectionError, ConnectionLimits, FrameError, RequestError, SchemaError, decode_request,
};
use proto_kafka::messages::{ApiVersionsRequest, FetchRequest, MetadataRequest, ProduceRequest};
use tokio::io::AsyncWriteExt;

use crate::client::{Client, encoded, framed, run};
use crate::fake::FakeBackend;
use crate::samples::{Sample, Visit, every_version};

/// Lengths that a hostile client writes over others: as four bytes, as two, and as a varint.
const LIES: &[&[u8]] = &[
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0x00, 0x00, 0x00],
    &[0xff, 0xff, 0xff, 0xfe],
    &[0x00, 0x00, 0x40, 0x00],
    &[0x7f, 0xff],
    &[0xff, 0xfe],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
];

struct Lie;

impl Visit for Lie {
    fn visit<R: Sample>(&mut self, version: i16) {
        let whole = encoded(&R::sample(version), version, 1);
        for at in 8..whole.len() {
            let _ = decode_request(&mut whole.clone().freeze().slice(..at));
            for lie in LIES {
                let mut lying = whole.clone();
                let end = (at + lie.len()).min(lying.len());
                lying[at..end].copy_from_slice(&lie[..end - at]);
                let _ = decode_request(&mut lying.clone().freeze());
                lying.resize(whole.len() + 20_000, 0xff);
                let _ = decode_request(&mut lying.freeze());
            }
        }
    }
}

#[test]
fn no_lie_at_any_place_of_any_request_makes_decoding_panic() {
    every_version(&mut Lie);
}

struct Cut;

impl Visit for Cut {
    fn visit<R: Sample>(&mut self, version: i16) {
        let whole = encoded(&R::sample(version), version, 1).freeze();
        for end in 0..whole.len() {
            let cut = decode_request(&mut whole.slice(..end));
            assert!(cut.is_err(), "API {} version {version} cut at {end}", R::KEY);
        }
    }
}

#[test]
fn a_request_that_is_cut_anywhere_is_refused() {
    every_version(&mut Cut);
}

#[test]
fn seven_bytes_that_ask_for_gigabytes_are_refused_by_their_shape() {
    let mut bytes = encoded(&MetadataRequest::default().with_topics(Some(vec![])), 12, 1);
    let body = bytes.len() - 4;
    bytes.truncate(body);
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
    let error = decode_request(&mut bytes.freeze()).expect_err("a lie");
    let shape = matches!(error, RequestError::Shape { source: SchemaError::Length(_), .. });
    assert!(shape, "{error:?}");
}

#[test]
fn a_tagged_field_that_is_longer_than_it_says_is_refused() {
    let mut request = FetchRequest::sample(12);
    request.cluster_id = Some(crate::samples::string("cluster"));
    let mut bytes = encoded(&request, 12, 1);
    // One tagged field, tag 0, eight bytes: now it says seven.
    let at = bytes.len() - 11 + 2;
    assert_eq!(bytes[at - 2..=at], [1, 0, 8]);
    bytes[at] = 7;
    let error = decode_request(&mut bytes.freeze()).expect_err("a lie");
    assert!(matches!(error, RequestError::Ambiguous { .. }), "{error:?}");
}

/// What becomes of a connection that begins with these bytes.
fn ended_by(bytes: Vec<u8>) -> ConnectionError {
    let (report, reported) = std::sync::mpsc::channel();
    run(async move {
        let mut client = Client::connect_with(&FakeBackend::new(), ConnectionLimits::default());
        client.stream.write_all(&bytes).await.expect("taken");
        assert!(client.frame().await.is_none(), "no answer, and the connection is closed");
        report.send(client.end().await).expect("the test waits");
    });
    reported.recv().expect("a report").expect_err("an error")
}

#[test]
fn a_frame_longer_than_the_cap_or_negative_is_refused_by_its_length_alone() {
    for length in [100 * 1024 * 1024 + 1, i32::MAX, -1] {
        let error = ended_by(length.to_be_bytes().to_vec());
        let refused = matches!(error, ConnectionError::Frame(FrameError::Length(l)) if l == length);
        assert!(refused, "{length}: {error:?}");
    }
}

#[test]
fn what_is_not_served_closes_the_connection() {
    let unknown = framed(&[0, 99, 0, 0, 0, 0, 0, 1, 0, 0]).to_vec();
    let error = ended_by(unknown);
    assert!(matches!(error, ConnectionError::Request(RequestError::UnknownApi(99))), "{error:?}");
    let mut old = encoded(&ProduceRequest::sample(3), 3, 1);
    old[2..4].copy_from_slice(&2i16.to_be_bytes());
    let error = ended_by(framed(&old).to_vec());
    let refused =
        matches!(error, ConnectionError::Request(RequestError::Version { version: 2, .. }));
    assert!(refused, "advertised for librdkafka's sake, yet refused: {error:?}");
    let error = ended_by(framed(&[0, 18]).to_vec());
    assert!(matches!(error, ConnectionError::Request(RequestError::NoHeader(2))), "{error:?}");
}

#[test]
fn a_client_that_vanishes_inside_a_frame_ends_its_connection_alone() {
    run(async {
        let backend = FakeBackend::new();
        let mut client = Client::connect(&backend);
        client.stream.write_all(&[0, 0, 0, 50, 0, 18]).await.expect("taken");
        let ended = client.end().await;
        assert!(matches!(ended, Err(ConnectionError::Frame(FrameError::Cut))), "{ended:?}");
        Client::connect(&backend).call(&ApiVersionsRequest::sample(4), 4).await;
    });
}
