//! x
use crate::Common;
#[derive(clap::Args)]
pub struct Options {}
pub async fn run(_c: &Common, _o: &Options) -> anyhow::Result<bool> {
    Ok(true)
}
