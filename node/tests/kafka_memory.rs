//! Decoding takes memory in proportion to what a frame holds, whatever it declares. A process of
//! its own, because the measure is the process's peak of address space.
#![cfg(target_os = "linux")]

#[path = "kafka/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "kafka/fake.rs"]
#[allow(dead_code)]
mod fake;
#[path = "kafka/samples.rs"]
mod samples;

use bytes::{BufMut, BytesMut};
use kraft_node::kafka::decode_request;
use kraft_node::limits::{REQUEST_ITEM_BYTES, REQUEST_ITEMS};
use proto_kafka::messages::{CreateTopicsRequest, MetadataRequest};

use crate::client::encoded;
use crate::samples::{Sample, Visit, every_version};

const MIB: usize = 1024 * 1024;
/// What the frames themselves, their copies and the allocator's own ways may take.
const SLACK: usize = 64 * MIB;

/// The most address space that this process has ever had.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the process's own status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).expect("VmPeak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// Writes, over every place of a request, that as many elements follow as bytes do.
struct Overstate;

impl Visit for Overstate {
    fn visit<R: Sample>(&mut self, version: i16) {
        const FILLER: usize = 2 * MIB;
        let whole = encoded(&R::sample(version), version, 1);
        for at in 8..whole.len() {
            let declared = (FILLER - 64) as u32;
            let varint =
                [declared | 0x80, declared >> 7 | 0x80, declared >> 14 | 0x80, declared >> 21];
            for lie in [declared.to_be_bytes(), varint.map(|byte| byte as u8)] {
                let mut lying = BytesMut::with_capacity(at + FILLER);
                lying.put_slice(&whole[..at]);
                lying.put_slice(&lie);
                lying.put_bytes(0, FILLER);
                let _ = decode_request(&mut lying.freeze());
            }
        }
    }
}

/// As many topics as a request may hold, as small as they get, all of them there.
fn dense(tagged: bool) -> BytesMut {
    let empty = CreateTopicsRequest::default();
    let mut frame = encoded(&empty, 7, 1);
    let tail = frame.split_off(frame.len() - 6);
    frame.truncate(frame.len() - 1);
    let topics = if tagged { REQUEST_ITEMS / 2 - 1 } else { REQUEST_ITEMS - 1 };
    let mut count = topics as u32 + 1;
    while count >= 0x80 {
        frame.put_u8(count as u8 | 0x80);
        count >>= 7;
    }
    frame.put_u8(count as u8);
    for _ in 0..topics {
        // An empty name, two numbers, two empty arrays, and no tagged field or one of no bytes.
        frame.put_slice(&[1, 0, 0, 0, 1, 0, 1, 1, 1]);
        frame.put_slice(if tagged { &[1, 9, 0] } else { &[0] });
    }
    frame.put_slice(&tail);
    frame
}

#[test]
fn decoding_never_takes_more_than_its_bound_whatever_a_frame_declares() {
    let before = peak_bytes();
    every_version(&mut Overstate);
    let lied = peak_bytes() - before;
    assert!(lied <= SLACK, "frames that lie took {} MiB", lied / MIB);

    for tagged in [false, true] {
        let mut frame = dense(tagged).freeze();
        let request = decode_request(&mut frame).expect("as large as may be");
        assert!(request.items > REQUEST_ITEMS - 4, "{} elements", request.items);
    }
    let honest = peak_bytes() - before;
    let bound = REQUEST_ITEMS * REQUEST_ITEM_BYTES + SLACK;
    assert!(honest <= bound, "the densest frame took {} MiB", honest / MIB);

    let mut names = encoded(&MetadataRequest::default().with_topics(Some(vec![])), 1, 1);
    names.truncate(names.len() - 4);
    names.put_u32(REQUEST_ITEMS as u32 + 1);
    names.put_bytes(0, 2 * (REQUEST_ITEMS + 1));
    assert!(decode_request(&mut names.freeze()).is_err(), "one element too many");
}
