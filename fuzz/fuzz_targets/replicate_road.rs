//! The members and their reports, as the tables keep them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_replicate::Road;

fuzz_target!(|data: &[u8]| {
    if let Ok((road, _)) = postcard::take_from_bytes::<Road>(data) {
        let again = postcard::to_stdvec(&road).expect("a road can be encoded");
        assert_eq!(postcard::from_bytes(&again).ok(), Some(road));
    }
});
