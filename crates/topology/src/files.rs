//! The only part that touches the file system: reading the file, and looking whether the files
//! that it names are there.

use crate::fault::{Fault, LoadError, Position, TopologyError};
use crate::health::{ProbeKind, ProbedBy};
use crate::postgres::Password;
use crate::topology::Topology;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Reads and validates a topology. Whether the certificates are there is a step of its own
/// ([`Topology::check_files`]), because a production machine has only its own region's.
///
/// # Errors
/// If the file cannot be read, or anything in it is wrong.
pub fn load(path: &Path) -> Result<Topology, LoadError> {
    let text = fs::read_to_string(path).map_err(|source| LoadError::Read {
        file: path.to_owned(),
        source,
    })?;
    Ok(Topology::parse(&text, path)?)
}

/// A file that the topology names.
struct Named {
    what: String,
    path: PathBuf,
    position: Option<Position>,
    hint: &'static str,
}

const CERTIFICATE_HINT: &str = "`meridian certs` makes an authority and certificates; relative paths begin at the topology's directory";
const TOKEN_HINT: &str =
    "write a long random secret into the file; relative paths begin at the topology's directory";

const PASSWORD_HINT: &str =
    "write the role's password into it; relative paths begin at the topology's directory";
const ROOT_HINT: &str = "put the authorities' certificates there (PEM), or leave `root-certificates` out to trust the system's";

const ZONE_KEY_HINT: &str = "put the zone's private key there (ECDSA P-256 in PKCS #8), or leave `dnssec-key-file` out to serve the zone unsigned";
const COOKIE_HINT: &str = "write 32 hexadecimal digits into it, or leave `cookie-secret-file` out";

impl Topology {
    /// Checks that the certificates, keys and token that the topology names can be opened: those
    /// of `region`, or of every region for `None`.
    ///
    /// # Errors
    /// One fault for each file that is missing, is no file or cannot be opened, and one if there
    /// is no such region.
    pub fn check_files(&self, region: Option<&str>) -> Result<(), TopologyError> {
        let unknown = region
            .filter(|name| self.region(name).is_none())
            .map(|name| self.unknown_region(name));
        let unusable = self
            .named_files(region)
            .into_iter()
            .filter_map(|named| fault(&named));
        let faults: Vec<_> = unknown.into_iter().chain(unusable).collect();
        if faults.is_empty() {
            return Ok(());
        }
        Err(self.faulty(faults))
    }

    fn named_files(&self, region: Option<&str>) -> Vec<Named> {
        let mut files = Vec::new();
        if let Some(tls) = &self.tls {
            let positions = tls.positions.as_ref();
            files.push(Named {
                what: "authority".to_owned(),
                path: tls.authority.clone(),
                position: positions.map(|at| at.authority),
                hint: CERTIFICATE_HINT,
            });
            let wanted = |name: &str| region.is_none_or(|wanted| wanted == name);
            for region in self
                .regions
                .iter()
                .filter(|region| wanted(region.name.as_str()))
            {
                let name = &region.name;
                files.push(Named {
                    what: format!("certificate of region \"{name}\""),
                    path: tls.certificate_of(name),
                    position: positions.map(|at| at.certificate),
                    hint: CERTIFICATE_HINT,
                });
                files.push(Named {
                    what: format!("key of region \"{name}\""),
                    path: tls.key_of(name),
                    position: positions.map(|at| at.key),
                    hint: CERTIFICATE_HINT,
                });
            }
        }
        files.extend(self.postgres_files(region));
        files.extend(self.probe_files(region));
        let of_zone = [
            ("zone's key", &self.dns.dnssec_key_file, ZONE_KEY_HINT),
            (
                "secret for DNS cookies",
                &self.dns.cookie_secret_file,
                COOKIE_HINT,
            ),
        ];
        files.extend(of_zone.into_iter().filter_map(|(what, path, hint)| {
            Some(Named {
                what: what.to_owned(),
                path: path.clone()?,
                position: None,
                hint,
            })
        }));
        files.extend(self.api.token_file.as_ref().map(|path| Named {
            what: "token file".to_owned(),
            path: path.clone(),
            position: self.api.token_file_position,
            hint: TOKEN_HINT,
        }));
        files
    }
}

impl Topology {
    fn postgres_files(&self, region: Option<&str>) -> Vec<Named> {
        let mut files = Vec::new();
        for dataset in &self.datasets {
            let servers = dataset.postgres().into_iter().flat_map(|own| &own.servers);
            for (name, server) in servers {
                if region.is_some_and(|wanted| wanted != name.as_str()) {
                    continue;
                }
                let named = |what: &str, path: &Path, hint| Named {
                    what: format!("{what} of dataset \"{}\" in \"{name}\"", dataset.name),
                    path: path.to_owned(),
                    position: None,
                    hint,
                };
                if let Some(Password::File(path)) = &server.password {
                    files.push(named("password file", path, PASSWORD_HINT));
                }
                if let Some(path) = &server.root_certificates {
                    files.push(named("root certificates", path, ROOT_HINT));
                }
            }
        }
        files
    }
}

impl Topology {
    /// The files that the probes of a region's services name, or of every region's.
    fn probe_files(&self, region: Option<&str>) -> Vec<Named> {
        let mut files = Vec::new();
        for own in &self.regions {
            for (service, probe) in &own.services {
                // What everybody probes, everybody needs the files of.
                let is_elsewhere = region.is_some_and(|wanted| wanted != own.name.as_str());
                if is_elsewhere && probe.by == ProbedBy::Own {
                    continue;
                }
                let (password, roots) = match &probe.kind {
                    ProbeKind::Http(http) => (&None, &http.root_certificates),
                    ProbeKind::Postgres { server, .. } => {
                        (&server.password, &server.root_certificates)
                    }
                    ProbeKind::Redis { password, .. } => (password, &None),
                    ProbeKind::Tcp(_) | ProbeKind::Dns { .. } | ProbeKind::Command(_) => continue,
                };
                let named = |what: &str, path: &Path, hint| Named {
                    what: format!("{what} of the probe of {service} in \"{}\"", own.name),
                    path: path.to_owned(),
                    position: None,
                    hint,
                };
                if let Some(Password::File(path)) = password {
                    files.push(named("password file", path, PASSWORD_HINT));
                }
                if let Some(path) = roots {
                    files.push(named("root certificates", path, ROOT_HINT));
                }
            }
        }
        files
    }
}

fn fault(named: &Named) -> Option<Fault> {
    let problem = match open(&named.path) {
        Ok(true) => return None,
        Ok(false) => "is not a file".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "does not exist".to_owned(),
        Err(error) => format!("cannot be opened: {error}"),
    };
    Some(Fault {
        position: named.position,
        reason: format!("the {} {:?} {problem}", named.what, named.path),
        hint: named.hint.to_owned(),
    })
}

/// Whether the path is a file. It is looked at before it is opened: opening a pipe would wait.
fn open(path: &Path) -> io::Result<bool> {
    if !fs::metadata(path)?.is_file() {
        return Ok(false);
    }
    File::open(path).map(|_| true)
}
