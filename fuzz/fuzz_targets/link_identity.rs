//! A region's certificate, key and authority, as files with a NUL between them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut files = data.split(|byte| *byte == 0);
    let mut next = || files.next().unwrap_or_default();
    meridian_link::fuzz::identity(next(), next(), next());
});
