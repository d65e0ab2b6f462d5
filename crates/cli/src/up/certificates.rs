//! The certificates of `up`'s own regions, made when they are absent or their year is over.

use crate::certs::{create_authority, issue_one, load_authority, make_directory};
use crate::error::{CliError, CliResult};
use meridian_link::certs::{Authority, Identity, IdentityError, IdentityPaths};
use meridian_topology::Topology;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// Sees to it that `directory` has an authority and a sound identity for every region.
pub fn ensure(directory: &Path, topology: &Topology) -> CliResult {
    make_directory(directory)?;
    let authority = if Authority::key_path(directory).exists() {
        load_authority(directory)?
    } else {
        create_authority(directory)?
    };
    for region in &topology.regions {
        let name = region.name.as_str();
        let paths = IdentityPaths::in_directory(directory, name);
        if !paths.certificate.exists() && !paths.key.exists() {
            issue_one(&authority, directory, name)?;
        }
        check(&authority, directory, name, &paths)?;
    }
    Ok(())
}

fn check(authority: &Authority, directory: &Path, name: &str, paths: &IdentityPaths) -> CliResult {
    let unusable = |error: &IdentityError| {
        CliError::failure(format!("use the certificate of region {name}")).because(error)
    };
    match Identity::load(name, paths, SystemTime::now()) {
        Ok(_) => Ok(()),
        Err(IdentityError::Expired { .. }) => {
            // They are this `up`'s own, so nobody misses the old ones.
            let _ = fs::remove_file(&paths.certificate);
            let _ = fs::remove_file(&paths.key);
            let paths = issue_one(authority, directory, name)?;
            let again = Identity::load(name, &paths, SystemTime::now());
            again.map(drop).map_err(|error| unusable(&error))
        }
        Err(error) => Err(unusable(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let certs = directory.path().join("certs");
        let topology = Topology::built_in();
        ensure(&certs, &topology).unwrap();
        let key = certs.join("eu-west-1.key.pem");
        let before = fs::read(&key).unwrap();
        ensure(&certs, &topology).unwrap();
        assert_eq!(fs::read(&key).unwrap(), before);
    }

    #[test]
    fn a_mixed_up_certificate_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let topology = Topology::built_in();
        ensure(directory.path(), &topology).unwrap();
        let file = |name: &str| directory.path().join(name);
        fs::copy(file("us-east-1.pem"), file("eu-west-1.pem")).unwrap();
        assert!(ensure(directory.path(), &topology).is_err());
    }
}
