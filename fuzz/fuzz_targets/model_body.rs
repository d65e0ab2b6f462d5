//! An entry's body, from a log or a peer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_model::Body;

fuzz_target!(|data: &[u8]| {
    if let Ok(body) = Body::decode(data) {
        assert_eq!(Body::decode(&body.encode()).ok(), Some(body));
    }
});
