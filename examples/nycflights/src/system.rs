//! Three regions with a server each, as `meridian up --postgres` runs them: started, given the
//! tables, ended.

use crate::record::REGIONS;
use crate::run::Plan;
use crate::servers::{BOOKINGS, Place, connect};
use anyhow::{Context, Result, ensure};
use meridian_bench::cluster::Cluster;
use meridian_bench::meridian::MeridianClient;
use meridian_bench::ports::free_block;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const SCHEMA: &str = include_str!("../schema.sql");
const PORTS_PER_REGION: u16 = 10;
/// Where a region's server listens, from its API on.
const PORT_AFTER_API: u16 = 6;
const NAMES: [&str; REGIONS] = ["us-east-1", "eu-west-1", "ap-northeast-1"];

/// The directory of everything, which goes in the end.
pub struct Home(TempDir);

impl Home {
    pub fn new(parent: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("meridian-nycflights-")
            .tempdir_in(parent)
            .context("create a directory for the regions' data")?;
        // Started by root, the servers run as another user, who passes through it.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o711))
            .context("let the servers' user into the data directory")?;
        Ok(Self(directory))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Where that user was not let in all the same, the servers' data is elsewhere.
        let servers = self.path().join("regions/postgres");
        if servers.is_symlink()
            && let Ok(elsewhere) = fs::canonicalize(&servers)
        {
            // Nothing more can be done about what can't be removed.
            let _ = fs::remove_dir_all(elsewhere);
        }
    }
}

/// The running regions.
pub struct System {
    pub cluster: Cluster,
    pub places: [Place; REGIONS],
    meridian: PathBuf,
    /// The topology that the regions go by.
    topology: PathBuf,
}

impl System {
    /// Starts it, with no tables yet.
    pub async fn start(plan: &Plan, home: &Home) -> Result<Self> {
        let base = match plan.base_port {
            Some(port) => port,
            None => free_block(PORTS_PER_REGION * 3)?,
        };
        let given = home.path().join("meridian.toml");
        fs::write(&given, topology(base)).context("write the topology")?;
        let more = ["--postgres".into(), "--config".into(), given.into()];
        let cluster = Cluster::start_with(&plan.meridian, home.path(), Some(base), &more).await?;
        let mut places = Vec::new();
        for region in &cluster.regions {
            places.push(Place {
                name: region.name,
                api: region.api,
                port: region.api.port() + PORT_AFTER_API,
            });
        }
        let places = places.try_into();
        Ok(Self {
            places: places.map_err(|_| anyhow::anyhow!("there are three regions"))?,
            cluster,
            meridian: plan.meridian.clone(),
            topology: home.path().join("regions/meridian.toml"),
        })
    }

    /// Makes the empty tables in every server and lets them replicate.
    pub async fn make_tables(&self) -> Result<()> {
        for place in &self.places {
            let client = connect(place).await?;
            let made = client.batch_execute(SCHEMA).await;
            made.with_context(|| format!("make the tables in {}", place.name))?;
        }
        let output = tokio::process::Command::new(&self.meridian)
            .args(["postgres", "prepare", "--apply", "--config"])
            .arg(&self.topology)
            .kill_on_drop(true)
            .output()
            .await
            .context("run `meridian postgres prepare`")?;
        ensure!(
            output.status.success(),
            "`meridian postgres prepare --apply` failed ({}): {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

/// The regions, and that seats add up. `up --postgres` runs the servers at these addresses.
fn topology(base: u16) -> String {
    let mut text = "zone = \"meridian.test\"\n".to_owned();
    for name in NAMES {
        text += &format!("[[region]]\nname = \"{name}\"\n");
    }
    text += "[[dataset]]\nname = \"nycflights\"\nengine = \"postgres\"\ntables = [\"public.*\"]\n";
    for (number, name) in (0..).zip(NAMES) {
        let port = base + PORTS_PER_REGION * number + PORT_AFTER_API;
        text += &format!(
            "[dataset.postgres.region.{name}]\n\
             url = \"postgresql://meridian@127.0.0.1:{port}/meridian\"\n"
        );
    }
    text += &format!(
        "[dataset.table.\"public.{}\"]\ncounters = [\"seats\"]\n",
        BOOKINGS.0
    );
    text
}

/// How a region stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Rows that its server doesn't show yet.
    pub rows_dirty: u64,
    /// Conflicts that it has resolved, ever.
    pub conflicts: u64,
}

impl Standing {
    /// Asks a region; an error where it has stopped.
    pub async fn of(place: &Place) -> Result<Self> {
        let mut client = MeridianClient::connect(place.api, "public.flights").await?;
        let status = client.json("/v1/status").await?;
        let postgres = &status["datasets"][0]["postgres"];
        ensure!(
            postgres["state"] != "stopped",
            "{} has stopped: {}",
            place.name,
            postgres["reason"]
        );
        let dirty = postgres["rows_dirty"].as_u64();
        Ok(Self {
            rows_dirty: dirty.with_context(|| {
                format!("the status of {} lacks rows_dirty: {status}", place.name)
            })?,
            conflicts: client.conflicts().await?,
        })
    }
}
