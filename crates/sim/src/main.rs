//! Runs scenarios from many seeds, or replays one.

use anyhow::{Context as _, bail};
use clap::Parser;
use meridian_sim::{Scenario, run};
use std::io::Write as _;

/// Simulates regions under faults, from seeds.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this scenario; an unknown one is answered with the list.
    #[arg(long)]
    scenario: Option<String>,
    /// Only this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds, from --from on.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let scenarios = match &arguments.scenario {
        None => Scenario::ALL.to_vec(),
        Some(name) => vec![Scenario::from_name(name).with_context(|| {
            let names: Vec<&str> = Scenario::ALL.iter().map(|known| known.name()).collect();
            format!(
                "no scenario is called {name:?}: there are {}",
                names.join(", ")
            )
        })?],
    };
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.from..arguments.from + arguments.seeds,
    };
    let mut out = std::io::stdout().lock();
    let (mut failed, mut acknowledged, mut conflicts) = (0u64, 0, 0);
    let count = seeds.clone().count();
    for seed in seeds {
        for scenario in &scenarios {
            match run(*scenario, seed) {
                Ok(report) => {
                    acknowledged += report.acknowledged;
                    conflicts += report.conflicts;
                }
                Err(failure) => {
                    failed += 1;
                    writeln!(out, "{failure}")?;
                }
            }
        }
        if (seed + 1).is_multiple_of(500) {
            writeln!(out, "… seed {seed}: {failed} failures so far")?;
        }
    }
    writeln!(
        out,
        "{count} seeds of {} scenarios: {failed} failures, {acknowledged} acknowledged \
         transactions, {conflicts} conflicts",
        scenarios.len()
    )?;
    if failed > 0 {
        bail!("{failed} runs broke a promise");
    }
    Ok(())
}
