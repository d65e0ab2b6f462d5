//! A log whose checksums are right around payloads that need not be: what a defect
//! could write, and what the checksum otherwise keeps from the decoders.
//!
//! The input is a list of frames: entries claimed (one byte), payload length (two bytes), payload.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_fuzz::open_and_use;

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let mut payloads = Vec::new();
    while let Some(([count, low, high], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (payload, after) = after.split_at(length);
        payloads.push((u32::from(*count), payload));
        rest = after;
    }
    open_and_use(&meridian_log::fuzz::sealed(&payloads));
});
