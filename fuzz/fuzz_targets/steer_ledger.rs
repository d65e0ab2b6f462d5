//! What regions tell each other of drains and shifts, and the file that keeps them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_steer::{Ledger, Told};

fuzz_target!(|data: &[u8]| {
    if let Ok(told) = Told::decode(data) {
        assert_eq!(Told::decode(&told.encode()).as_ref().ok(), Some(&told));
        let mut ledger = Ledger::default();
        ledger.hear(told);
        assert_eq!(Ledger::decode(&ledger.encode()).ok(), Some(ledger));
    }
    let _ = Ledger::decode(data);
});
