//! What regions say to each other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_model::Envelope;

fuzz_target!(|data: &[u8]| {
    if let Ok(envelope) = Envelope::decode(data) {
        assert_eq!(Envelope::decode(&envelope.encode()).ok(), Some(envelope));
    }
});
