//! Reading from disk, and the files that a topology names.

use crate::{Topology, load};
use std::fs;
use std::path::Path;

const TEXT: &str = r#"zone = "a.test"
[[region]]
name = "us-east-1"
api = "127.0.0.1:1"
[[region]]
name = "eu-west-1"
[[dataset]]
name = "main"
engine = "embedded"
[tls]
authority = "certs/authority.pem"
certificate = "certs/{region}.pem"
key = "certs/{region}.key"
[api]
token-file = "token"
"#;

fn written(directory: &Path, text: &str) -> Topology {
    let file = directory.join("meridian.toml");
    fs::write(&file, text).unwrap();
    load(&file).unwrap()
}

#[test]
fn a_file_that_is_not_there() {
    let error = load(Path::new("/nowhere/meridian.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: /nowhere/meridian.toml: cannot read the topology: No such file or directory (os error 2)\n  \
         hint: `meridian init` writes a commented file to start from"
    );
}

#[test]
fn a_file_that_is_wrong_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("meridian.toml");
    fs::write(&file, format!("{TEXT}colour = 1\n")).unwrap();
    let error = load(&file).unwrap_err().to_string();
    let expected = format!(
        "error: {}:16:1: unknown key \"colour\" in [api]\n  hint: the keys here are token-file",
        file.display()
    );
    assert_eq!(error, expected);
}

#[test]
fn missing_certificates_and_token() {
    let directory = tempfile::tempdir().unwrap();
    let topology = written(directory.path(), TEXT);
    fs::create_dir_all(directory.path().join("certs/us-east-1.key")).unwrap();
    fs::write(directory.path().join("certs/authority.pem"), "").unwrap();
    let error = topology.check_files(Some("us-east-1")).unwrap_err();
    let text = error
        .to_string()
        .replace(directory.path().to_str().unwrap(), "DIR");
    assert_eq!(
        text,
        r#"error: DIR/meridian.toml:12:15: the certificate of region "us-east-1" "DIR/certs/us-east-1.pem" does not exist
  hint: `meridian certs` makes an authority and certificates; relative paths begin at the topology's directory
error: DIR/meridian.toml:13:7: the key of region "us-east-1" "DIR/certs/us-east-1.key" is not a file
  hint: `meridian certs` makes an authority and certificates; relative paths begin at the topology's directory
error: DIR/meridian.toml:15:14: the token file "DIR/token" does not exist
  hint: write a long random secret into the file; relative paths begin at the topology's directory"#
    );
    // Of both regions: the authority is there, one key is a directory, four files are missing.
    assert_eq!(topology.check_files(None).unwrap_err().faults.len(), 5);
}

#[test]
fn a_machine_needs_only_the_files_of_its_region() {
    let directory = tempfile::tempdir().unwrap();
    let topology = written(directory.path(), TEXT);
    fs::create_dir(directory.path().join("certs")).unwrap();
    for file in [
        "certs/authority.pem",
        "certs/eu-west-1.pem",
        "certs/eu-west-1.key",
        "token",
    ] {
        fs::write(directory.path().join(file), "").unwrap();
    }
    assert_eq!(topology.check_files(Some("eu-west-1")), Ok(()));
    assert_eq!(topology.check_files(None).unwrap_err().faults.len(), 2);
}

#[test]
fn a_topology_that_names_no_files_needs_none() {
    assert_eq!(Topology::built_in().check_files(None), Ok(()));
}

#[test]
fn a_region_that_is_not_there() {
    let topology = Topology::parse(TEXT, Path::new("meridian.toml")).unwrap();
    let expected = "error: meridian.toml: there is no region \"eu-west-2\"\n  hint: did you mean \"eu-west-1\"?";
    let error = topology.check_files(Some("eu-west-2")).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
    let error = Topology::built_in()
        .for_serve("mars")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(
            "error: built-in topology: there is no region \"mars\"\n  hint: the regions are us-east-1, eu-west-1, ap-northeast-1"
        ),
        "{error}"
    );
}

#[test]
fn addresses_that_serve_needs() {
    let topology = Topology::parse(TEXT, Path::new("meridian.toml")).unwrap();
    let hint = "only `meridian up` chooses addresses itself";
    assert_eq!(
        topology.for_serve("us-east-1").unwrap_err().to_string(),
        format!(
            r#"error: meridian.toml:2:1: region "us-east-1" has no `link` address, and `serve` needs it
  hint: add link = "127.0.0.1:7001" with the region's own address; {hint}
error: meridian.toml:5:1: region "eu-west-1" has no `api` address, and `serve` needs it
  hint: add api = "127.0.0.1:7000" with the region's own address; {hint}
error: meridian.toml:5:1: region "eu-west-1" has no `link` address, and `serve` needs it
  hint: add link = "127.0.0.1:7001" with the region's own address; {hint}"#
        )
    );
}
