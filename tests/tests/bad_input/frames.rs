//! Bytes that are no requests, on both listeners, while a producer works.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use kraft_tests::load::{Load, assert_nothing_lost, read_all};
use kraft_tests::wire::{self, Connection};
use kraft_tests::{Cluster, Layout};

/// What begins a connection between nodes; as the length of a Kafka request it is negative.
const PREFACE: [u8; 4] = [0xff, b'K', b'R', b'F'];

/// How long a node may take to hang up on what it has seen to be wrong.
const PATIENCE: Duration = Duration::from_secs(10);

struct Scene {
    cluster: Cluster,
    client: SocketAddr,
    controller: SocketAddr,
    load: Load,
}

impl Scene {
    fn set() -> Scene {
        let cluster = Cluster::start(&Layout::split(1, 1));
        let (client, controller) =
            (cluster.node(2).address(), cluster.node(1).controller_address());
        assert_eq!(wire::create_topic(client, "t", 1, 1, &[]).expect("an answer"), 0);
        let load = Load::start("t", vec![client], 1);
        load.wait_for_more(20);
        Scene { cluster, client, controller, load }
    }

    /// The nodes have gone on as if nothing had been: the same processes, the same leader.
    fn end(mut self) {
        self.load.wait_for_more(20);
        assert_eq!(wire::create_topic(self.client, "after", 1, 1, &[]).expect("an answer"), 0);
        self.cluster.wait_until_ready();
        for node in self.cluster.nodes() {
            assert!(!node.log().contains("panicked"), "node {}:\n{}", node.id, node.log());
        }
        let acked = self.load.finish();
        assert_nothing_lost(&acked, &read_all("t", &[self.client]));
    }
}

/// Sends `bytes` and leaves the connection open.
fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the node listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // The node may hang up before it has read everything.
    let _ = stream.write_all(bytes);
    stream
}

/// The node ends the connection itself, though the sender holds it open.
fn assert_hangs_up(address: SocketAddr, what: &str, bytes: &[u8]) {
    let mut stream = send(address, bytes);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let waited = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!waited, "{what}: the connection was not closed");
    }
}

/// Random bytes that are the same in every run (xorshift).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn request(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

/// A peer's first frame with this CBOR in its header, its lengths and checksum right.
fn hello(header: &[u8]) -> Vec<u8> {
    let (version, kind) = (1_u8, 1_u8);
    let length = (header.len() as u32).to_be_bytes();
    let covered = [&[version, kind], &length[..], header].concat();
    let crc = crc32c::crc32c(&covered).to_be_bytes();
    let body = [&[version, kind], &crc[..], &length[..], header].concat();
    [&PREFACE[..], &request(&body)].concat()
}

#[test]
fn random_bytes_on_both_listeners_disturb_nobody() {
    let scene = Scene::set();
    let mut held = Vec::new();
    for seed in 0..200 {
        let bytes = noise(seed, 3 + (seed as usize * 37) % 3_000);
        for address in [scene.client, scene.controller] {
            // Raw; as a well-framed request; as a peer's frame; as a peer's CBOR.
            held.push(send(address, &bytes));
            held.push(send(address, &request(&bytes)));
            held.push(send(address, &[&PREFACE[..], &bytes].concat()));
            held.push(send(address, &hello(&bytes)));
        }
        if seed % 20 == 0 {
            held.clear();
        }
    }
    scene.end();
}

#[test]
fn requests_with_random_bodies_for_every_api_disturb_nobody() {
    let scene = Scene::set();
    for key in 0..92_u16 {
        for version in 0..4_u16 {
            let header = [key.to_be_bytes(), version.to_be_bytes(), [0, 0], [0, 1], [0xff, 0xff]];
            let body = noise(u64::from(key * 4 + version), 60);
            drop(send(scene.client, &request(&[&header.concat()[..], &body].concat())));
        }
    }
    scene.end();
}

#[test]
fn impossible_lengths_of_client_frames_close_the_connection() {
    let scene = Scene::set();
    for length in [i32::MAX, 100 * 1024 * 1024 + 1, -1, i32::MIN] {
        let what = format!("a declared length of {length}");
        assert_hangs_up(scene.client, &what, &length.to_be_bytes());
        assert_hangs_up(scene.controller, &what, &length.to_be_bytes());
    }
    assert_hangs_up(scene.client, "an empty frame", &request(&[]));
    scene.end();
}

#[test]
fn a_huge_declared_array_in_a_request_closes_the_connection() {
    let scene = Scene::set();
    // Metadata version 1 of 2^31-1 topics, Fetch version 11 and Produce version 9 of as many.
    let metadata = [&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff][..], &i32::MAX.to_be_bytes()].concat();
    let mut fetch = [&[0, 1, 0, 11, 0, 0, 0, 1, 0xff, 0xff][..], &[0; 25]].concat();
    fetch.extend_from_slice(&i32::MAX.to_be_bytes());
    let produce_fixed = [0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 9];
    let produce = [&produce_fixed[..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    for (what, body) in [("Metadata", metadata), ("Fetch", fetch), ("Produce", produce)] {
        assert_hangs_up(scene.client, what, &request(&body));
    }
    scene.end();
}

#[test]
fn frames_that_declare_much_and_bring_little_starve_nobody() {
    let scene = Scene::set();
    let declared = (100_u32 * 1024 * 1024).to_be_bytes();
    let held: Vec<TcpStream> = (0..16).map(|_| send(scene.client, &declared)).collect();
    // On every one of the node's threads, and each within the raw client's few seconds.
    for _ in 0..8 {
        let mut client = Connection::open(scene.client).expect("the node listens");
        for _ in 0..100 {
            wire::latest_offset(&mut client, "t", 0).expect("an answer in time");
        }
    }
    drop(held);
    scene.end();
}

#[test]
fn oversized_and_deeply_nested_peer_frames_close_the_connection() {
    let scene = Scene::set();
    let long = [&PREFACE[..], &u32::MAX.to_be_bytes()].concat();
    let before_hello = [&PREFACE[..], &(1_u32 << 20).to_be_bytes()].concat();
    let huge_header = [&PREFACE[..], &[0, 0, 0, 20, 1, 1, 0, 0, 0, 0], &[0xff; 4]].concat();
    // Lists in lists; a list, a string and a map that declare 2^64-1 items or bytes.
    let nested = hello(&[0x81; 50_000]);
    let cases = [
        ("a frame of 4 GiB", long),
        ("1 MiB before the handshake", before_hello),
        ("a header longer than its frame", huge_header),
        ("50,000 nested lists", nested),
        ("an endless list", hello(&[&[0x9b][..], &[0xff; 8]].concat())),
        ("an endless string", hello(&[&[0x5b][..], &[0xff; 8]].concat())),
        ("an endless map", hello(&[&[0xbb][..], &[0xff; 8]].concat())),
        ("nothing that anybody writes", hello(&[0x82, 0x80, 0xf6])),
    ];
    for (what, bytes) in &cases {
        for address in [scene.client, scene.controller] {
            assert_hangs_up(address, what, bytes);
        }
    }
    scene.end();
}
