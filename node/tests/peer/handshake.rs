//! Who is let in, and what closes a link at once.

use std::sync::Arc;
use std::time::Duration;

use kraft_model::{ClusterId, DirectoryId, Incarnation, NodeId};
use kraft_node::peer::{Admit, Cause, Hello, LinkEvent, LocalPeer, PREFACE, Timing, cbor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{DEADLINE, Node, anybody, local, pair, quick, start, start_as};

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_and_both_sides_know_why() {
    let mut stranger = start_as(anybody(), quick(), |endpoint| LocalPeer {
        cluster: ClusterId(78),
        ..local(1, 51, endpoint)
    })
    .await;
    let mut home = start(2, anybody(), quick()).await;
    stranger.dial(&home);
    let expected =
        format!("node 1 is of cluster {}, node 2 of cluster {}", ClusterId(78), ClusterId(77));
    assert_eq!(stranger.refusal().await, expected);
    assert_eq!(home.refusal().await, expected);
}

#[tokio::test]
async fn a_directory_that_the_policy_does_not_know_is_refused() {
    let pinned: Admit = Arc::new(|hello| match hello.directory == DirectoryId(1) {
        true => Ok(()),
        false => Err(format!("directory {} is not that of the voter", hello.directory)),
    });
    let mut strict = start(2, pinned, quick()).await;
    let mut wiped = start(1, anybody(), quick()).await;
    wiped.dial(&strict);
    let expected = format!("directory {} is not that of the voter", DirectoryId(1001));
    assert_eq!(wiped.refusal().await, expected);
    assert_eq!(strict.refusal().await, expected);
}

#[tokio::test]
async fn the_policy_holds_for_whom_a_node_dials_too() {
    let nobody: Admit = Arc::new(|_| Err("nobody is known".to_owned()));
    let mut strict = start(1, nobody, quick()).await;
    let other = start(2, anybody(), quick()).await;
    strict.dial(&other);
    assert_eq!(strict.refusal().await, "nobody is known");
}

#[tokio::test]
async fn a_node_id_that_is_in_use_is_refused() {
    let (left, mut right) = pair().await;
    let mut twin = start_as(anybody(), quick(), |endpoint| LocalPeer {
        directory: DirectoryId(4),
        ..local(1, 99, endpoint)
    })
    .await;
    twin.dial(&right);
    assert!(twin.refusal().await.contains("node.id 1 is in use"));
    assert!(right.refusal().await.contains("node.id 1 is in use"));
    // And against the owner itself, however it is called.
    twin.links.ensure(NodeId(7), left.endpoint());
    let reason = twin.refusal().await;
    assert!(reason.contains("node.id 1 is in use by two processes"), "{reason}");
}

#[tokio::test]
async fn another_node_at_the_dialled_endpoint_is_refused() {
    let mut left = start(1, anybody(), quick()).await;
    let right = start(2, anybody(), quick()).await;
    left.links.ensure(NodeId(3), right.endpoint());
    assert_eq!(left.refusal().await, "node 3 was dialled, node 2 answered");
}

/// What the node says before it closes the connection that began with `bytes`.
async fn closed_after(node: &Node, bytes: &[u8]) -> Vec<u8> {
    let (host, port) = node.endpoint();
    let mut stream = TcpStream::connect((host.as_str(), port)).await.expect("a listener");
    stream.write_all(bytes).await.expect("a listener");
    let mut said = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut said)).await;
    // A connection that is closed with bytes unread is reset.
    let _ = read.expect("the node closes the connection");
    said
}

#[tokio::test]
async fn what_is_no_handshake_is_closed_without_a_word() {
    let patient = Timing { handshake: Duration::from_secs(3600), ..quick() };
    let node = start(1, anybody(), patient).await;
    let after_preface = |frame: &[u8]| [&PREFACE[..], frame].concat();
    let huge = after_preface(&u32::MAX.to_be_bytes());
    let over_the_handshakes_limit = after_preface(&65_537_u32.to_be_bytes());
    let garbage = after_preface(&[0, 0, 0, 10, 1, 1, 9, 9, 9, 9, 0, 0, 0, 0]);
    let tiny = after_preface(&[0, 0, 0, 1, 1]);
    let kafka = [0, 0, 0, 8, 0, 18, 0, 3, 0, 0, 0, 1].to_vec();
    for bytes in [huge, over_the_handshakes_limit, garbage, tiny, kafka] {
        assert_eq!(closed_after(&node, &bytes).await, b"", "{bytes:02x?}");
    }
}

#[tokio::test]
async fn a_handshake_that_trickles_in_is_given_up() {
    let node = start(1, anybody(), quick()).await;
    let whole = [&PREFACE[..], &[0, 0, 0, 100, 1]].concat();
    assert_eq!(closed_after(&node, &whole).await, b"");
}

/// A frame written by hand.
fn frame(kind: u8, header: &[u8], attachments: &[u8]) -> Vec<u8> {
    let length = (header.len() as u32).to_be_bytes();
    let total = (10 + header.len() + attachments.len()) as u32;
    let crc = crc32c::crc32c(&[&[1, kind], &length[..], header].concat());
    [&total.to_be_bytes()[..], &[1, kind], &crc.to_be_bytes(), &length, header, attachments]
        .concat()
}

/// What a node says from the preface to the end of the handshake, without waiting for answers.
fn whole_handshake() -> Vec<u8> {
    let hello = Hello {
        cluster: ClusterId(77),
        node: NodeId(9),
        directory: DirectoryId(9),
        controller: false,
        broker: true,
        incarnation: Incarnation(9),
        versions: (1, 3),
        endpoint: ("127.0.0.1".to_owned(), 1),
        probe: false,
    };
    let none = Vec::<u32>::new();
    let hello = cbor::encode(&(&none, hello)).expect("plain types");
    let ready = cbor::encode(&(&none, ())).expect("plain types");
    [&PREFACE[..], &frame(1, &hello, b""), &frame(3, &ready, b"")].concat()
}

#[tokio::test]
async fn a_link_that_breaks_the_protocol_is_closed_with_the_reason() {
    let mut node = start(1, anybody(), quick()).await;
    let deep = frame(16, &[0x81; 200_000], b"");
    let unclaimed = frame(23, &[0x82, 0x80, 0xf6], b"bytes");
    let overstated = frame(23, &[0x82, 0x81, 0x18, 99, 0xf6], b"bytes");
    let second_hello = whole_handshake().split_off(PREFACE.len());
    let cases: [(Vec<u8>, &str); 6] = [
        (u32::MAX.to_be_bytes().to_vec(), "4294967295 bytes; the limit is"),
        ([0, 0, 0, 99, 1, 23, 0, 0, 0, 0, 0, 0, 1, 0].to_vec(), "header of 256 bytes"),
        (deep, "nested deeper than 16 levels"),
        (unclaimed, "do not add up to the 5 bytes"),
        (overstated, "do not add up to the 5 bytes"),
        (second_hello, "Hello is not expected here"),
    ];
    for (bytes, expected) in cases {
        closed_after(&node, &[whole_handshake(), bytes].concat()).await;
        assert_eq!(node.up().await.1, Incarnation(9));
        let Cause::Protocol(reason) = node.down().await else { panic!("{expected}") };
        assert!(reason.contains(expected), "no '{expected}' in: {reason}");
        // Nothing listens where this peer said that it could be reached.
        let gone = LinkEvent::Gone { peer: NodeId(9), incarnation: Incarnation(9) };
        assert_eq!(node.next().await, gone);
    }
}
