//! Any bytes as a frame from a peer: an error or a message, never a panic, and never more memory than
//! a small multiple of what arrived.
#![no_main]

use std::alloc::System;

use cap::Cap;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

fuzz_target!(|bytes: &[u8]| {
    let before = ALLOCATOR.allocated();
    // serde clamps what it reserves for a declared length to 1 MiB a collection.
    let bound = before + 16 * bytes.len() + (4 << 20);
    ALLOCATOR.set_limit(bound).expect("the limit is above what is in use");
    let message = kraft_node::peer::decode_frame(bytes);
    ALLOCATOR.set_limit(usize::MAX).expect("no limit");
    if let Ok(message) = message {
        let encoded = kraft_node::peer::encode_message(message.clone()).expect("what was decoded");
        let again = kraft_node::peer::decode_frame(&encoded).expect("what was just encoded");
        assert_eq!(message, again);
    }
});
