//! Passwords and TLS.

use crate::bench::{Bench, DATABASE};
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::capture::CaptureError;
use meridian_engine_postgres::local::Stop;
use meridian_engine_postgres::server::{PasswordSource, ServerConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Lets everybody in without a password on addresses that nobody uses here, and clerk by these rules.
fn rules(bench: &Bench, rules: &str) {
    let text = format!("host all postgres 127.0.0.1/32 trust\n{rules}\n");
    std::fs::write(bench.cluster.data().join("pg_hba.conf"), text).unwrap();
}

/// Without holding up whoever else runs here: the server waits for readers of slots to be gone.
fn restart(bench: &mut Bench) {
    tokio::task::block_in_place(|| bench.cluster.restart(Stop::Fast)).unwrap();
}

fn with_password(bench: &Bench, server: &ServerConfig, password: &str) -> ServerConfig {
    let file = bench.directory.path().join(format!("password-{password}"));
    std::fs::write(&file, format!("{password}\n")).unwrap();
    ServerConfig {
        password: Some(PasswordSource::File(file)),
        ..server.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_of_asking_for_a_password() {
    let mut bench = Bench::new("").await;
    let superuser = bench.superuser().await;
    let right = with_password(&bench, &bench.server, "right");
    let wrong = with_password(&bench, &bench.server, "wrong");
    for (method, kind) in [("scram-sha-256", "scram-sha-256"), ("md5", "md5")] {
        let password =
            format!("SET password_encryption = '{kind}'; ALTER ROLE clerk PASSWORD 'right'");
        superuser.batch_execute(&password).await.unwrap();
        rules(&bench, &format!("host all clerk 127.0.0.1/32 {method}"));
        superuser
            .batch_execute("SELECT pg_reload_conf()")
            .await
            .unwrap();
        let server = bench.server.clone();
        // The rules are read by the next new session that the postmaster starts.
        let error = bench
            .eventually(async || {
                bench
                    .start_as(&server, Lsn(0))
                    .await
                    .err()
                    .filter(|error| !matches!(error, CaptureError::SlotInUse { .. }))
            })
            .await;
        assert!(
            matches!(&error, CaptureError::Authentication { reason, .. } if reason.contains("none is configured")),
            "{method}: {error:#}"
        );
        let error = bench.start_as(&wrong, Lsn(0)).await.unwrap_err();
        assert!(
            matches!(&error, CaptureError::Authentication { user, .. } if user == "clerk"),
            "{error:#}"
        );
        assert!(!error.is_transient());
        assert!(
            !format!("{error:#}{error:?}").contains("wrong"),
            "the password itself"
        );
        drop(
            bench
                .start_as(&right, Lsn(0))
                .await
                .unwrap_or_else(|error| panic!("{method}: {error:#}")),
        );
    }
    rules(&bench, "host all clerk 127.0.0.1/32 password");
    restart(&mut bench);
    let error = bench.start_as(&right, Lsn(0)).await.unwrap_err();
    assert!(error.to_string().contains("over TLS only"), "{error:#}");
    rules(&bench, "host all clerk 10.0.0.0/8 trust");
    restart(&mut bench);
    let error = bench.start_as(&right, Lsn(0)).await.unwrap_err();
    assert!(
        matches!(error, CaptureError::Authentication { .. }),
        "{error:#}"
    );
}

/// An authority, and a certificate of it for `localhost`.
struct Certificates {
    authority: PathBuf,
    chain: String,
    key: String,
}

fn certificates(directory: &Path, name: &str) -> Certificates {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let path = directory.join(format!("{name}.pem"));
    std::fs::write(&path, authority.pem()).unwrap();
    Certificates {
        authority: path,
        chain: certificate.pem(),
        key: key.serialize_pem(),
    }
}

fn install(data: &Path, certificates: &Certificates) {
    let owner = std::fs::metadata(data).unwrap();
    for (name, text) in [
        ("server.crt", &certificates.chain),
        ("server.key", &certificates.key),
    ] {
        let path = data.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_the_right_authority_the_wrong_one_another_name_and_none() {
    let mut bench = Bench::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let at = |host: &str, roots: &Path| ServerConfig {
        url: format!(
            "postgresql://clerk@{host}:{}/{DATABASE}?sslmode=verify-full",
            bench.cluster.port()
        ),
        password: None,
        root_certificates: Some(roots.to_owned()),
    };
    let ours = certificates(bench.directory.path(), "ours");
    let theirs = certificates(bench.directory.path(), "theirs");
    let right = at("localhost", &ours.authority);
    let of_others = at("localhost", &theirs.authority);
    let other_name = at("127.0.0.1", &ours.authority);

    let error = bench.start_as(&right, Lsn(0)).await.unwrap_err();
    assert!(error.to_string().contains("doesn't offer it"), "{error:#}");

    let superuser = bench.superuser().await;
    superuser
        .batch_execute(
            "SET password_encryption = 'scram-sha-256'; ALTER ROLE clerk PASSWORD 'right'",
        )
        .await
        .unwrap();
    install(&bench.cluster.data(), &ours);
    rules(
        &bench,
        "hostssl all clerk 127.0.0.1/32 scram-sha-256\nhostssl all clerk ::1/128 scram-sha-256",
    );
    bench.cluster.set_parameter("ssl", "on");
    restart(&mut bench);

    for server in [&of_others, &other_name] {
        let error = bench.start_as(server, Lsn(0)).await.unwrap_err();
        assert!(matches!(error, CaptureError::Tls { .. }), "{error:#}");
        assert!(!error.is_transient());
    }
    let right = with_password(&bench, &right, "right");
    bench
        .start_as(&right, Lsn(0))
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    // Without TLS nobody is let in.
    let plain = with_password(&bench, &bench.server, "right");
    let error = bench.start_as(&plain, Lsn(0)).await.unwrap_err();
    assert!(
        matches!(error, CaptureError::Authentication { .. }),
        "{error:#}"
    );
    // A password in clear text goes over TLS.
    rules(&bench, "hostssl all clerk 127.0.0.1/32 password");
    restart(&mut bench);
    bench
        .start_as(&right, Lsn(0))
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
}
