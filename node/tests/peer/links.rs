//! What a link carries, how it ends, and what its end says.

use std::time::Duration;

use bytes::Bytes;
use kraft_model::raft::{self, FetchOutcome, FetchResponse};
use kraft_model::{Epoch, Incarnation, NodeId, Offset};
use kraft_node::peer::{Cause, LinkError, LinkEvent, Links, LocalPeer, Message, PREFACE, Timing};
use kraft_node::storage::Records;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::{DEADLINE, anybody, bind, local, pair, quick, start};

/// A record batch of `count` records whose payload nobody looks at.
fn batch(base: i64, count: i32, payload: usize) -> Bytes {
    let mut bytes = vec![0; 61 + payload];
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes[8..12].copy_from_slice(&(49 + payload as i32).to_be_bytes());
    bytes[12..16].copy_from_slice(&3_i32.to_be_bytes());
    bytes[16] = 2;
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes.into()
}

fn fetched(records: Bytes, base: i64, end: i64) -> Message {
    let batch = Records { bytes: records, base: Offset(base), end: Offset(end), last_epoch: 3 };
    Message::Quorum(raft::Message::FetchResponse(FetchResponse {
        epoch: Epoch(3),
        leader: Some(NodeId(1)),
        offset: Offset(base),
        last_epoch: Epoch(3),
        outcome: FetchOutcome::Records { batch: Some(batch), high_watermark: Offset(end) },
    }))
}

#[tokio::test]
async fn messages_go_both_ways_over_one_link_and_records_arrive_as_they_were() {
    let (mut left, mut right) = pair().await;
    let two = [batch(5, 2, 100), batch(7, 1, 0)].concat().into();
    let message = fetched(two, 5, 8);
    left.links.send(NodeId(2), message.clone()).expect("queued");
    let LinkEvent::Received { peer, link, message: received } = right.next().await else {
        panic!("a message was due");
    };
    assert_eq!((peer, received), (NodeId(1), message));
    right.links.reply(link, Message::DescribeQuorum { id: 9 }).expect("queued");
    let answer = left.next().await;
    assert!(
        matches!(answer, LinkEvent::Received { message: Message::DescribeQuorum { id: 9 }, .. }),
        "{answer:?}"
    );
    right.links.send(NodeId(1), Message::DescribeQuorum { id: 10 }).expect("queued");
    assert!(matches!(left.next().await, LinkEvent::Received { .. }));
}

#[tokio::test]
async fn a_link_that_was_lost_is_dialled_again() {
    let (mut left, mut right) = pair().await;
    // The same process lets go of its link and takes another.
    right.links.close();
    let (sender, events) = mpsc::channel(16);
    let again = Links::new(right.links.local().clone(), anybody(), quick(), sender);
    *right.answering.lock().expect("held") = again;
    right.events = events;
    assert_eq!(left.down().await, Cause::Closed);
    // Nothing between: the same incarnation answered, which is no evidence.
    assert_eq!(left.up().await.1, Incarnation(52));
    assert_eq!(right.up().await.1, Incarnation(51));
    left.links.send(NodeId(2), Message::DescribeQuorum { id: 1 }).expect("a new link");
    assert!(matches!(right.next().await, LinkEvent::Received { .. }));
}

#[tokio::test]
async fn a_peer_that_refuses_connections_is_gone() {
    let (mut left, right) = pair().await;
    right.accepting.abort();
    // The listener is closed once its task has ended; then the links, as when a process dies.
    let (host, port) = right.endpoint();
    while TcpStream::connect((host.as_str(), port)).await.is_ok() {
        tokio::task::yield_now().await;
    }
    right.links.close();
    assert_eq!(left.down().await, Cause::Closed);
    let expected = LinkEvent::Gone { peer: NodeId(2), incarnation: Incarnation(52) };
    assert_eq!(left.next().await, expected);
}

#[tokio::test]
async fn the_side_that_was_dialled_finds_out_as_well() {
    let (left, mut right) = pair().await;
    left.accepting.abort();
    let (host, port) = left.endpoint();
    while TcpStream::connect((host.as_str(), port)).await.is_ok() {
        tokio::task::yield_now().await;
    }
    left.links.close();
    assert_eq!(right.down().await, Cause::Closed);
    let expected = LinkEvent::Gone { peer: NodeId(1), incarnation: Incarnation(51) };
    assert_eq!(right.next().await, expected);
}

#[tokio::test]
async fn a_peer_that_answers_as_another_incarnation_is_gone_and_back() {
    let (mut left, right) = pair().await;
    let (sender, _events) = mpsc::channel(16);
    let reborn = LocalPeer { incarnation: Incarnation(53), ..right.links.local().clone() };
    let reborn = Links::new(reborn, anybody(), quick(), sender);
    *right.answering.lock().expect("held") = reborn;
    right.links.close();
    assert_eq!(left.down().await, Cause::Closed);
    // The dial-back and the new link race, so their events come in either order.
    let mut told = [left.next().await, left.next().await];
    told.sort_by_key(|event| matches!(event, LinkEvent::Up { .. }));
    let gone = LinkEvent::Gone { peer: NodeId(2), incarnation: Incarnation(52) };
    assert_eq!(told[0], gone);
    assert!(matches!(told[1], LinkEvent::Up { incarnation: Incarnation(53), .. }), "{told:?}");
}

#[tokio::test]
async fn a_paused_peer_is_silent_and_not_gone() {
    let mut left = start(1, anybody(), quick()).await;
    let (listener, endpoint) = bind().await;
    let (sender, _events) = mpsc::channel(16);
    let right = Links::new(local(2, 52, endpoint.clone()), anybody(), quick(), sender);
    left.links.ensure(NodeId(2), endpoint);
    let (stream, _) = listener.accept().await.expect("dialled");
    right.accept(stream, Bytes::new());
    left.up().await;
    right.close();
    assert_eq!(left.down().await, Cause::Closed);
    // The dial-back and the next link find a listener that takes them and says nothing, until both
    // have given up.
    for _ in 0..2 {
        let (mut stream, _) = listener.accept().await.expect("dialled back");
        let mut asked = Vec::new();
        let given_up = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut asked)).await;
        assert!(given_up.is_ok() && asked.starts_with(&PREFACE));
    }
    // Then the process goes on: no verdict has come before its link.
    let (sender, _events) = mpsc::channel(16);
    let right = Links::new(right.local().clone(), anybody(), quick(), sender);
    let (stream, _) = listener.accept().await.expect("dialled");
    right.accept(stream, Bytes::new());
    assert_eq!(left.up().await.1, Incarnation(52));
}

#[tokio::test]
async fn a_node_can_be_asked_after_without_a_link() {
    let mut left = start(1, anybody(), quick()).await;
    let right = start(2, anybody(), quick()).await;
    left.links.probe(NodeId(2), right.endpoint(), Incarnation(7));
    let expected = LinkEvent::Gone { peer: NodeId(2), incarnation: Incarnation(7) };
    assert_eq!(left.next().await, expected);
}

#[tokio::test]
async fn a_link_on_which_nothing_is_heard_is_closed() {
    let mut left =
        start(1, anybody(), Timing { silence: Duration::from_millis(200), ..quick() }).await;
    let mute = start(2, anybody(), Timing { ping: Duration::from_secs(3600), ..quick() }).await;
    left.dial(&mute);
    left.up().await;
    assert_eq!(left.down().await, Cause::Silent);
}

#[tokio::test]
async fn pings_keep_an_idle_link_up() {
    let short = Timing {
        ping: Duration::from_millis(20),
        silence: Duration::from_millis(1_000),
        ..quick()
    };
    let (mut left, mut right) =
        (start(1, anybody(), short).await, start(2, anybody(), short).await);
    left.dial(&right);
    left.up().await;
    right.up().await;
    let quiet = tokio::time::timeout(short.silence * 2, left.events.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn a_full_queue_is_told_to_the_sender_and_drains() {
    let (left, mut right) = pair().await;
    let message = fetched(batch(0, 1, 4 << 20), 0, 1);
    // The link's task does not run meanwhile: nothing here waits.
    let sent = (0..10_000).find_map(|sent| {
        left.links.send(NodeId(2), message.clone()).err().map(|error| (sent, error))
    });
    let (sent, error) = sent.expect("no queue holds 10,000 of them");
    assert!(matches!(error, LinkError::Full), "{error}");
    for _ in 0..sent {
        assert!(matches!(right.next().await, LinkEvent::Received { .. }));
    }
    left.links.send(NodeId(2), message).expect("there is room again");
    assert!(matches!(left.links.send(NodeId(3), Message::Ping), Err(LinkError::Down)));
}

#[tokio::test]
async fn a_forgotten_peer_is_dialled_no_more() {
    let (mut left, mut right) = pair().await;
    left.links.forget(NodeId(2));
    assert_eq!(left.down().await, Cause::Released);
    assert_eq!(right.down().await, Cause::Closed);
    assert!(matches!(left.links.send(NodeId(2), Message::Ping), Err(LinkError::Down)));
    // Wanted anew, it is dialled anew.
    left.dial(&right);
    left.up().await;
    right.up().await;
}
