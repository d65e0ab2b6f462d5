//! `meridian.toml`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_topology::Topology;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Topology::parse(text, Path::new("meridian.toml")) {
        Ok(topology) => {
            for region in &topology.regions {
                let _ = topology.for_serve(region.name.as_str());
            }
        }
        // Every fault can be shown.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
