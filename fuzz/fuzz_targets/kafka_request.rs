//! Any bytes as a client's request: an error or a request, never a panic, and never more memory than
//! a small multiple of what arrived.
#![no_main]

use std::alloc::System;

use bytes::Bytes;
use cap::Cap;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

fuzz_target!(|bytes: &[u8]| {
    let mut frame = Bytes::copy_from_slice(bytes);
    let bound = ALLOCATOR.allocated() + 256 * bytes.len() + (1 << 20);
    ALLOCATOR.set_limit(bound).expect("the limit is above what is in use");
    // Either answer is fine; ending the process is not.
    let _ = kraft_node::kafka::decode_request(&mut frame);
    ALLOCATOR.set_limit(usize::MAX).expect("no limit");
});
