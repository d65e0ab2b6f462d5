//! The replication stream of a PostgreSQL server: frames, messages, transactions.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| meridian_engine_postgres::fuzz::stream(data));
