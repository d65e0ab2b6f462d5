//! The first words of a connection between regions.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    meridian_link::fuzz::preamble(data);
});
