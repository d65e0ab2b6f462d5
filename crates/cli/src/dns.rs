//! `meridian dns`: the key that a zone is signed with.

use crate::config::load;
use crate::error::{CliError, CliResult};
use crate::output::{self, Format};
use clap::{Args, Subcommand};
use meridian_node::dns::{DnsError, delegation_signer, generate_key};
use serde_json::json;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

/// `meridian dns`
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  meridian dns key secrets/zone.key")]
pub enum Verb {
    /// Make a key for signing a zone
    Key(KeyOptions),
    /// The record with which the zone above vouches for the key
    Ds(DsOptions),
}

/// `meridian dns key`
#[derive(Debug, Args)]
#[command(
    after_help = "The key is ECDSA P-256 in PKCS #8, as PEM. A directory that isn't there is made. Every region needs the same file; `dnssec-key-file` under [dns] names it. A file that is there is never overwritten.\n\nExample:\n  meridian dns key secrets/zone.key"
)]
pub struct KeyOptions {
    /// The file to write, readable by its owner only
    file: PathBuf,
}

/// `meridian dns ds`
#[derive(Debug, Args)]
#[command(
    after_help = "Put the record into the zone above, or give its four fields to whoever keeps that, once every region serves with the key.\n\nExample:\n  meridian dns ds --config meridian.toml"
)]
pub struct DsOptions {
    /// The topology file
    #[arg(long, value_name = "FILE", default_value = "meridian.toml")]
    config: PathBuf,
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::Key(options) => key(options, format),
        Verb::Ds(options) => ds(options, format),
    }
}

fn key(options: &KeyOptions, format: Format) -> CliResult {
    let path = &options.file;
    let failed = |error: &dyn std::error::Error| {
        CliError::failure(format!("write {}", path.display())).because(error)
    };
    let text = generate_key().map_err(|error| failed(&error))?;
    if let Some(directory) = path.parent() {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        made.map_err(|error| failed(&error))?;
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            CliError::usage(format!("{} is there already", path.display())).hint(
                "a zone that lost its key is believed by nobody until the zone above has the new one's record; give another name",
            )
        }
        _ => failed(&error),
    })?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| failed(&error))?;
    match format {
        Format::Json => output::json(&json!({ "written": [path] }))?,
        Format::Text => output::line(&format!("wrote {}", path.display()))?,
    }
    output::talk(
        "next: `dnssec-key-file` under [dns] names it; `meridian dns ds` prints the record for the zone above",
    );
    Ok(())
}

fn ds(options: &DsOptions, format: Format) -> CliResult {
    let topology = load(&options.config)?;
    let file = topology.dns.dnssec_key_file.as_ref().ok_or_else(|| {
        CliError::usage(format!("the zone {} is not signed", topology.zone)).hint(
            "make a key with `meridian dns key FILE`, and name it as `dnssec-key-file` under [dns]",
        )
    })?;
    let signer = delegation_signer(&topology.zone, file).map_err(refused)?;
    let mut fields = signer.splitn(4, ' ');
    let mut field = || fields.next().unwrap_or_default();
    match format {
        Format::Json => output::json(&json!({
            "zone": topology.zone,
            "key_tag": field(),
            "algorithm": field(),
            "digest_type": field(),
            "digest": field(),
        })),
        Format::Text => output::line(&format!("{}. IN DS {signer}", topology.zone)),
    }
}

fn refused(error: DnsError) -> CliError {
    let hint = error.hint();
    let failed = CliError::failure("read the zone's key").because(&error);
    match hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}
