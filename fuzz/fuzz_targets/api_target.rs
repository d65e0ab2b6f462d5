//! A request's path and query.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    meridian_node::api::fuzz::target(data);
});
