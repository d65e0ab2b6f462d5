//! `If-Match` and `If-None-Match`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    meridian_node::api::fuzz::preconditions(data);
});
