//! The peers, from Debian's packages: found in `PATH`, else installed by root, else asked for.

use crate::output::talk;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use tokio::process::Command;

/// Where `program` is in `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Makes sure that `program` is there, from `package` if need be.
pub async fn ensure(program: &str, package: &str) -> Result<()> {
    ensure_that(program, package, || find(program).is_some()).await
}

/// Makes sure of something that a package brings.
pub async fn ensure_that(what: &str, package: &str, is_there: impl Fn() -> bool) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || find("apt-get").is_none() {
        bail!(
            "{what} is not installed\n\nhint: `sudo apt-get install {package}`, or leave it out with --systems"
        );
    }
    talk(&format!("installing {package}, which {what} comes in"));
    if !apt_get(&["install", "-y", "--no-install-recommends", package]).await? {
        apt_get(&["update"]).await?;
        apt_get(&["install", "-y", "--no-install-recommends", package]).await?;
    }
    if !is_there() {
        bail!(
            "`apt-get install {package}` did not bring {what}\n\nhint: install it by hand, or leave it out with --systems"
        );
    }
    Ok(())
}

async fn apt_get(arguments: &[&str]) -> Result<bool> {
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .kill_on_drop(true)
        .output()
        .await
        .context("run apt-get")?;
    if !output.status.success() {
        talk(&String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.status.success())
}
