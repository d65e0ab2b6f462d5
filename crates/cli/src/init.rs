//! `meridian init`: a commented topology file to start from.

use crate::error::{CliError, CliResult};
use crate::output::{self, Format};
use clap::Args;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

/// `meridian init`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  meridian init\n  meridian config check meridian.toml")]
pub struct Options {
    /// The file to write; one that exists is left alone
    #[arg(default_value = "meridian.toml", value_name = "PATH")]
    path: PathBuf,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let path = options.path.display();
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&options.path);
    let mut file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            CliError::failure(format!("{path} exists and is not overwritten"))
                .hint("name another file: meridian init PATH")
        }
        _ => CliError::failure(format!("create {path}")).because(&error),
    })?;
    file.write_all(meridian_topology::init_template().as_bytes())
        .map_err(|error| CliError::failure(format!("write {path}")).because(&error))?;
    match format {
        Format::Json => output::json(&serde_json::json!({ "written": options.path })),
        Format::Text => {
            output::line(&format!("wrote {path}"))?;
            output::talk(&format!(
                "edit it, look it over with `meridian config check {path}`, run it here with `meridian up --config {path}`"
            ));
            Ok(())
        }
    }
}
