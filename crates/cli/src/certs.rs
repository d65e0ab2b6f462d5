//! `meridian certs`: one authority for the deployment, one certificate for each region.

use crate::error::{CliError, CliResult};
use crate::output::{self, Format};
use clap::{Args, Subcommand};
use meridian_link::certs::{Authority, IdentityPaths};
use meridian_topology::check_region_name;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// `meridian certs`
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  meridian certs authority --directory certs\n  meridian certs region us-east-1 --directory certs"
)]
pub enum Verb {
    /// Make the authority that signs every region's certificate
    Authority(AuthorityOptions),
    /// Issue regions their certificates and keys
    Region(RegionOptions),
}

/// `meridian certs authority`
#[derive(Debug, Args)]
#[command(
    after_help = "Writes authority.pem, which every region needs, and authority.key.pem: whoever has that one can pretend to be any region, so keep it off the regions' machines. Files that exist are left alone.\n\nExample:\n  meridian certs authority --directory certs"
)]
pub struct AuthorityOptions {
    /// The directory to write to; made if it is not there
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
}

/// `meridian certs region`
#[derive(Debug, Args)]
#[command(
    after_help = "Writes NAME.pem and NAME.key.pem, valid for a year. A machine needs its own region's two files and authority.pem. Files that exist are left alone.\n\nExample:\n  meridian certs region us-east-1 eu-west-1 --directory certs"
)]
pub struct RegionOptions {
    /// The regions' names, as in the topology
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The directory with the authority, to which the certificates are written
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    match verb {
        Verb::Authority(options) => make_authority(options, format),
        Verb::Region(options) => issue(options, format),
    }
}

fn make_authority(options: &AuthorityOptions, format: Format) -> CliResult {
    let directory = &options.directory;
    make_directory(directory)?;
    create_authority(directory)?;
    let written = [
        directory.join("authority.pem"),
        Authority::key_path(directory),
    ];
    report(&written, format)?;
    output::talk("next: meridian certs region NAME… --directory DIR");
    Ok(())
}

fn issue(options: &RegionOptions, format: Format) -> CliResult {
    for name in &options.names {
        check_region_name(name).map_err(|error| CliError::usage(error.reason).hint(error.hint))?;
    }
    let authority = load_authority(&options.directory)?;
    let mut written = Vec::new();
    for name in &options.names {
        let paths = issue_one(&authority, &options.directory, name)?;
        written.extend([paths.certificate, paths.key]);
    }
    report(&written, format)?;
    output::talk(
        "in the topology, with paths from its directory:\n  [tls]\n  authority = \"DIR/authority.pem\"\n  certificate = \"DIR/{region}.pem\"\n  key = \"DIR/{region}.key.pem\"",
    );
    Ok(())
}

fn report(written: &[PathBuf], format: Format) -> CliResult {
    if format == Format::Json {
        return output::json(&serde_json::json!({ "written": written }));
    }
    for path in written {
        output::line(&format!("wrote {}", path.display()))?;
    }
    Ok(())
}

/// Makes a directory that only its owner can look into: private keys go there.
pub fn make_directory(directory: &Path) -> CliResult {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| {
            CliError::failure(format!("make the directory {}", directory.display())).because(&error)
        })
}

/// Makes a new authority in a directory that has none.
pub fn create_authority(directory: &Path) -> CliResult<Authority> {
    let failed = |error: &dyn std::error::Error| {
        CliError::failure(format!("make an authority in {}", directory.display())).because(error)
    };
    let authority = Authority::create(SystemTime::now()).map_err(|error| failed(&error))?;
    authority.write(directory).map_err(|error| failed(&error))?;
    Ok(authority)
}

/// Takes up the authority in a directory.
pub fn load_authority(directory: &Path) -> CliResult<Authority> {
    let read = |path: PathBuf| {
        fs::read_to_string(&path).map_err(|error| {
            CliError::failure(format!("read {}", path.display()))
                .because(&error)
                .hint("`meridian certs authority --directory DIR` makes an authority")
        })
    };
    let certificate = read(directory.join("authority.pem"))?;
    let key = read(Authority::key_path(directory))?;
    Authority::load(&certificate, &key).map_err(|error| {
        CliError::failure(format!("take up the authority in {}", directory.display()))
            .because(&error)
    })
}

/// Issues and writes one region's certificate and key.
pub fn issue_one(authority: &Authority, directory: &Path, name: &str) -> CliResult<IdentityPaths> {
    let failed = |error: &dyn std::error::Error| {
        CliError::failure(format!("issue a certificate to {name}")).because(error)
    };
    let issued = authority
        .issue(name, SystemTime::now())
        .map_err(|error| failed(&error))?;
    issued.write(directory).map_err(|error| failed(&error))
}
