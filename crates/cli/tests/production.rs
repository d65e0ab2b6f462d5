//! A region as in production: `meridian serve` with certificates and a token, reached over HTTPS.

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;
use support::{eventually, meridian, text};

const PATIENCE: Duration = Duration::from_secs(60);

/// A region that runs until the test ends.
struct Serving {
    child: Child,
    port: u16,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    meridian(directory).args(arguments).output().unwrap()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// One region whose API listens on every address, and so demands TLS and a token.
fn serve(directory: &Path) -> Serving {
    for arguments in [
        &["certs", "authority", "--directory", "certs"][..],
        &["certs", "region", "us-east-1", "--directory", "certs"],
    ] {
        let output = run(directory, arguments);
        assert!(output.status.success(), "{}", text(&output));
    }
    let (port, link) = (free_port(), free_port());
    fs::write(directory.join("token"), "a-long-secret\n").unwrap();
    let topology = format!(
        r#"
        zone = "a.test"
        [[region]]
        name = "us-east-1"
        api = "127.0.0.1:{port}"
        api-listen = "0.0.0.0:{port}"
        link = "127.0.0.1:{link}"
        data-dir = "data"
        [[dataset]]
        name = "main"
        engine = "embedded"
        [tls]
        authority = "certs/authority.pem"
        certificate = "certs/{{region}}.pem"
        key = "certs/{{region}}.key.pem"
        [api]
        token-file = "token"
        "#
    );
    fs::write(directory.join("meridian.toml"), topology).unwrap();
    let check = run(directory, &["config", "check"]);
    assert!(check.status.success(), "{}", text(&check));
    let child = meridian(directory)
        .args([
            "serve",
            "--region",
            "us-east-1",
            "--config",
            "meridian.toml",
        ])
        .args(["--log-format", "json"])
        .stdin(Stdio::null())
        .stderr(fs::File::create(directory.join("log.txt")).unwrap())
        .spawn()
        .unwrap();
    Serving { child, port }
}

#[test]
fn a_region_is_reached_with_its_certificate_and_the_token() {
    let work = tempfile::tempdir().unwrap();
    let serving = serve(work.path());
    let url = format!("https://127.0.0.1:{}", serving.port);
    let call = |arguments: &[&str], region: &str, token: &[&str]| {
        let mut command = meridian(work.path());
        command
            .args(arguments)
            .args(["--api", &url, "--region", region]);
        command
            .args(["--authority", "certs/authority.pem"])
            .args(token);
        command.output().unwrap()
    };
    let token = ["--token-file", "token"];
    let put = ["tables", "put", "orders", "1", "7"];
    let log = || fs::read_to_string(work.path().join("log.txt")).unwrap();
    eventually("the region takes a row", PATIENCE, || {
        let output = call(&put, "us-east-1", &token);
        let is_early = output.status.code() == Some(3);
        assert!(
            is_early || output.status.success(),
            "{}\n{}",
            text(&output),
            log()
        );
        (!is_early).then_some(())
    });
    let output = call(&["tables", "get", "orders", "1"], "us-east-1", &token);
    assert_eq!(text(&output), "7\n");

    let output = call(&put, "us-east-1", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("(401)"), "{}", text(&output));
    assert!(text(&output).contains("hint: "), "{}", text(&output));

    let output = call(&put, "eu-west-1", &token);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("certificate"), "{}", text(&output));

    for line in log().lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok(),
            "{line}"
        );
    }
}
