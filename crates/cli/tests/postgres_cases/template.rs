//! A server's data, made once and copied for each test: `initdb` takes longer than most tests.

use meridian_engine_postgres::local::{
    BINARIES_VARIABLE, Cluster, Settings, Stop, binaries_in_turn,
};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The settings of a server that needs to survive its own crash and not the machine's. What an apply
/// commits reaches the WAL's file at once, so that tests don't wait for it.
fn settings(binaries: Option<PathBuf>) -> Settings {
    let parameters = [
        ("shared_buffers", "16MB"),
        ("max_connections", "60"),
        ("max_prepared_transactions", "5"),
        ("wal_writer_delay", "10ms"),
        ("max_wal_size", "256MB"),
        ("autovacuum_naptime", "1s"),
    ];
    Settings {
        binaries,
        fsync: false,
        parameters: parameters
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    }
}

/// The data of a server with an empty database `shop` of `clerk`'s, and the role `meridian`, which
/// may replicate and owns nothing. The first who asks makes it.
fn template(binaries: Option<&Path>) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres-cases");
    fs::create_dir_all(&home).expect("a directory");
    let lock = File::create(home.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    let name: String = binaries
        .map_or_else(Default::default, Path::to_string_lossy)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let made = home.join(format!("data-{name}"));
    if !made.exists() {
        make(&made, binaries);
    }
    made
}

fn make(target: &Path, binaries: Option<&Path>) {
    let directory = tempfile::tempdir().expect("a directory");
    let port = super::system::free_address().port();
    let settings = settings(binaries.map(Path::to_owned));
    let mut cluster = Cluster::create(directory.path(), port, settings).expect("a cluster");
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
    let binaries =
        binaries_in_turn().or_else(|| std::env::var_os(BINARIES_VARIABLE).map(PathBuf::from));
    let template = template(binaries.as_deref());
    copy(&template, &directory.join("data"));
    let port = super::system::free_address().port();
    let mut cluster = Cluster::create(directory, port, settings(binaries)).expect("a cluster");
    cluster.start().expect("a server");
    cluster
}
