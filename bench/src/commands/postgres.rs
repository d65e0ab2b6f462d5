//! What the benchmarks of PostgreSQL servers share.

use clap::ValueEnum;
use clap::builder::TypedValueParser;
use meridian_bench::postgres::System;

/// Only the systems that join servers.
pub fn joining() -> impl TypedValueParser<Value = System> {
    let names = [System::Meridian, System::Native].map(|system| {
        let value = system.to_possible_value();
        value.expect("every system has a name")
    });
    clap::builder::PossibleValuesParser::new(names).map(|name| {
        System::from_str(&name, false).expect("the parser lets only their names through")
    })
}
