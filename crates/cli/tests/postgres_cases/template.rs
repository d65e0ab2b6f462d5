//! A server's data, made once and copied for each test: `initdb` takes longer than most tests.

use meridian_engine_postgres::local::{Cluster, Settings, Stop};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The settings of a server that needs to survive its own crash and not the machine's. What an apply
/// commits reaches the WAL's file at once, so that tests don't wait for it.
pub fn settings() -> Settings {
    let parameters = [
        ("shared_buffers", "16MB"),
        ("max_connections", "60"),
        ("max_prepared_transactions", "5"),
        ("wal_writer_delay", "10ms"),
        ("max_wal_size", "256MB"),
        ("autovacuum_naptime", "1s"),
    ];
    Settings {
        binaries: None,
        fsync: false,
        parameters: parameters
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    }
}

/// The data of a server with an empty database `shop` of `clerk`'s, and the role `meridian`, which
/// may replicate and owns nothing. The first who asks makes it.
fn template() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres-cases");
    fs::create_dir_all(&home).expect("a directory");
    let lock = File::create(home.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    let binaries = std::env::var("MERIDIAN_POSTGRES_BIN").unwrap_or_default();
    let name: String = binaries
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let made = home.join(format!("data-{name}"));
    if !made.exists() {
        make(&made);
    }
    made
}

fn make(target: &Path) {
    let directory = tempfile::tempdir().expect("a directory");
    let port = super::system::free_address().port();
    let mut cluster = Cluster::create(directory.path(), port, settings()).expect("a cluster");
    cluster.start().expect("a server");
    let runtime = super::system::runtime();
    let made = runtime.block_on(async {
        cluster.create_role("meridian").await?;
        cluster.create_database_of("shop", "clerk").await
    });
    made.expect("a database");
    cluster.stop(Stop::Fast);
    let beside = target.with_extension("new");
    let _ = fs::remove_dir_all(&beside);
    copy(&cluster.data(), &beside);
    fs::rename(&beside, target).expect("the template's name");
}

/// Copies a directory with its owner and rights.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.expect("cp starts").success(), "{from:?} to {to:?}");
}

/// A server of its own in `directory`, running.
pub fn cluster(directory: &Path) -> Cluster {
    let template = template();
    copy(&template, &directory.join("data"));
    let port = super::system::free_address().port();
    let mut cluster = Cluster::create(directory, port, settings()).expect("a cluster");
    cluster.start().expect("a server");
    cluster
}
