//! `meridian tables checksum`: whether regions hold the same rows.

use super::known;
use super::promises::Reading;
use crate::client::{Api, encode};
use crate::error::{CliError, CliResult};
use crate::output::{self, Format, table, thousands};
use crate::target::Target;
use clap::Args;
use serde::Deserialize;
use serde_json::json;

/// `meridian tables checksum`
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0 if all regions hold the same rows with the same versions, 1 if not (while writes are on their way between regions, they don't), 4 if no region has the table.\n\nExample:\n  meridian tables checksum orders"
)]
pub struct Options {
    /// The table
    #[arg(value_name = "TABLE")]
    table: String,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Checksum {
    rows: u64,
    checksum: serde_json::Value,
}

impl Checksum {
    fn text(&self) -> String {
        match &self.checksum {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let found = options
        .target
        .all()?
        .into_iter()
        .map(|api| read(&api, options).map(|checksum| (api, checksum)))
        .collect::<CliResult<Vec<_>>>()?;
    if found.iter().all(|(_, checksum)| checksum.rows == 0) {
        let apis: Vec<_> = found.iter().map(|(api, _)| api.clone()).collect();
        known::check(&apis, &options.table)?;
    }
    let is_equal = found.windows(2).all(|pair| pair[0].1 == pair[1].1);
    match format {
        Format::Json => {
            let regions = found.iter().map(|(api, checksum)| {
                json!({ "region": api.name(), "rows": checksum.rows, "checksum": checksum.checksum })
            });
            let regions: Vec<_> = regions.collect();
            output::json(
                &json!({ "table": options.table, "equal": is_equal, "regions": regions }),
            )?;
        }
        Format::Text => print(&found, is_equal)?,
    }
    if is_equal {
        return Ok(());
    }
    Err(
        CliError::failure(format!("the regions differ in table {}", options.table)).hint(
            "writes may be on their way: `meridian replication` shows how far each region is behind",
        ),
    )
}

fn read(api: &Api, options: &Options) -> CliResult<Checksum> {
    let path = format!("/v1/tables/{}/checksum", encode(&options.table));
    options.reading.get(api, &path)?.json()
}

fn print(found: &[(Api, Checksum)], is_equal: bool) -> CliResult {
    let row = |(api, checksum): &(Api, Checksum)| {
        vec![
            api.name().to_owned(),
            thousands(checksum.rows),
            checksum.text(),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    output::line(&table(&["region", "rows", "checksum"], &rows))?;
    if is_equal && found.len() > 1 {
        output::line("equal")?;
    }
    Ok(())
}
