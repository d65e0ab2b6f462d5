//! What observers say to each other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_health::Reports;

fuzz_target!(|data: &[u8]| {
    if let Ok(reports) = Reports::decode(data) {
        assert_eq!(Reports::decode(&reports.encode()).ok(), Some(reports));
    }
});
