//! Values of the embedded tables.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    meridian_engine_kv::fuzz::value(data);
});
