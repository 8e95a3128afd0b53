//! Links between nodes over real sockets: who is let in, what closes a link, and what counts as
//! evidence that a peer is gone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kraft_model::raft::{self, FetchOutcome, FetchResponse};
use kraft_model::{ClusterId, DirectoryId, Epoch, Incarnation, NodeId, Offset};
use kraft_node::config::Roles;
use kraft_node::peer::{
    Admit, Cause, Hello, LinkError, LinkEvent, Links, LocalPeer, Message, PREFACE, Timing, cbor,
};
use kraft_node::storage::Records;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

const DEADLINE: Duration = Duration::from_secs(20);

/// A process with a listener, as far as its peers can tell.
struct Node {
    links: Links,
    events: mpsc::Receiver<LinkEvent>,
    /// Who answers the listener; another value is a restarted process.
    answering: Arc<Mutex<Links>>,
    accepting: AbortHandle,
}

fn local(node: i32, incarnation: u128, endpoint: (String, u16)) -> LocalPeer {
    LocalPeer {
        cluster: ClusterId(77),
        node: NodeId(node),
        directory: DirectoryId(node as u128 + 1000),
        roles: Roles { controller: true, broker: true },
        incarnation: Incarnation(incarnation),
        endpoint,
    }
}

fn anybody() -> Admit {
    Arc::new(|_| Ok(()))
}

fn quick() -> Timing {
    Timing {
        handshake: Duration::from_secs(1),
        probe: Duration::from_millis(300),
        ..Timing::default()
    }
}

async fn bind() -> (TcpListener, (String, u16)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let port = listener.local_addr().expect("bound").port();
    (listener, ("127.0.0.1".to_owned(), port))
}

fn serve(listener: TcpListener, answering: Arc<Mutex<Links>>) -> AbortHandle {
    let accept = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // As the listener that both protocols share does: a part has been read already.
            let mut first = [0; 2];
            if stream.read_exact(&mut first).await.is_ok() {
                answering.lock().expect("held").accept(stream, Bytes::copy_from_slice(&first));
            }
        }
    };
    tokio::spawn(accept).abort_handle()
}

async fn start(node: i32, admit: Admit, timing: Timing) -> Node {
    start_as(admit, timing, |endpoint| local(node, node as u128 + 50, endpoint)).await
}

async fn start_as(
    admit: Admit,
    timing: Timing,
    local: impl FnOnce((String, u16)) -> LocalPeer,
) -> Node {
    let (listener, endpoint) = bind().await;
    let (sender, events) = mpsc::channel(16);
    let links = Links::new(local(endpoint), admit, timing, sender);
    let answering = Arc::new(Mutex::new(links.clone()));
    let accepting = serve(listener, answering.clone());
    Node { links, events, answering, accepting }
}

impl Node {
    fn endpoint(&self) -> (String, u16) {
        self.links.local().endpoint.clone()
    }

    fn dial(&self, other: &Node) {
        self.links.ensure(other.links.local().node, other.endpoint());
    }

    /// The next event; other nodes' refusals and the like must be asked for as well.
    async fn next(&mut self) -> LinkEvent {
        let next = tokio::time::timeout(DEADLINE, self.events.recv());
        next.await.expect("an event before the deadline").expect("links that live")
    }

    async fn refusal(&mut self) -> String {
        match self.next().await {
            LinkEvent::Refused { reason, .. } => reason,
            other => panic!("a refusal was due, not {other:?}"),
        }
    }

    async fn up(&mut self) -> (kraft_node::peer::LinkId, Incarnation) {
        match self.next().await {
            LinkEvent::Up { link, incarnation, .. } => (link, incarnation),
            other => panic!("a link was due, not {other:?}"),
        }
    }

    async fn down(&mut self) -> Cause {
        match self.next().await {
            LinkEvent::Down { cause, .. } => cause,
            other => panic!("the end of a link was due, not {other:?}"),
        }
    }
}

/// Two nodes with a link that `left` has dialled.
async fn pair() -> (Node, Node) {
    let (mut left, mut right) =
        (start(1, anybody(), quick()).await, start(2, anybody(), quick()).await);
    left.dial(&right);
    left.up().await;
    right.up().await;
    (left, right)
}

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
