//! Accepting: who is served, who is handed on, who is turned away.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use kraft_node::kafka::{ConnectionLimits, Connections, Listener};
use proto_kafka::messages::{ApiVersionsRequest, ApiVersionsResponse, ResponseHeader};
use proto_kafka::protocol::Decodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::client::{encoded, framed, run};
use crate::fake::{FakeBackend, LISTENER};
use crate::samples::Sample;

const PREFACE: [u8; 4] = [0xfe, b'k', b'r', b'f'];

/// Runs a listener; its address and the streams that were handed on as peers'.
fn listen(
    backend: Option<FakeBackend>,
    connections: Connections,
) -> (SocketAddr, mpsc::UnboundedReceiver<TcpStream>) {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = socket.local_addr().expect("a bound socket");
    let (send, peers) = mpsc::unbounded_channel();
    let listener = Listener {
        name: LISTENER.to_owned(),
        peer_preface: PREFACE,
        backend,
        on_peer: move |stream, _, _slot| send.send(stream).expect("the test listens"),
        connections,
        limits: ConnectionLimits::default(),
    };
    tokio::task::spawn_local(async move { listener.run(socket).await.expect("it listens") });
    (address, peers)
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("it accepts")
}

async fn asks_for_versions(stream: &mut TcpStream) -> Option<ApiVersionsResponse> {
    let request = framed(&encoded(&ApiVersionsRequest::sample(3), 3, 1));
    stream.write_all(&request).await.ok()?;
    let length = stream.read_u32().await.ok()?;
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await.ok()?;
    let mut frame = bytes::Bytes::from(frame);
    ResponseHeader::decode(&mut frame, 0).ok()?;
    ApiVersionsResponse::decode(&mut frame, 3).ok()
}

#[test]
fn one_port_serves_clients_and_hands_peers_on_behind_their_preface() {
    run(async {
        let (address, mut peers) = listen(Some(FakeBackend::new()), Connections::default());
        let mut client = connect(address).await;
        assert!(asks_for_versions(&mut client).await.is_some());
        let mut peer = connect(address).await;
        peer.write_all(&PREFACE).await.expect("taken");
        peer.write_all(b"hello").await.expect("taken");
        let mut handed_on = peers.recv().await.expect("the peer's stream");
        let mut rest = [0; 5];
        handed_on.read_exact(&mut rest).await.expect("what follows the preface");
        assert_eq!(&rest, b"hello");
    });
}

#[test]
fn a_controllers_listener_answers_no_client() {
    run(async {
        let (address, mut peers) = listen(None, Connections::default());
        let mut client = connect(address).await;
        assert!(asks_for_versions(&mut client).await.is_none());
        let mut peer = connect(address).await;
        peer.write_all(&PREFACE).await.expect("taken");
        assert!(peers.recv().await.is_some());
    });
}

#[test]
fn a_connection_above_the_cap_is_closed_and_a_closed_one_makes_room() {
    run(async {
        for connections in [Connections::new(1, 9), Connections::new(9, 1)] {
            let (address, _peers) = listen(Some(FakeBackend::new()), connections);
            let mut first = connect(address).await;
            assert!(asks_for_versions(&mut first).await.is_some());
            let mut second = connect(address).await;
            assert!(asks_for_versions(&mut second).await.is_none(), "one is the most");
            drop(first);
            let served_again = async {
                loop {
                    let mut next = connect(address).await;
                    if asks_for_versions(&mut next).await.is_some() {
                        return;
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(10), served_again).await.expect("room again");
        }
    });
}
