//! Meridian's DNS server alone, with the records of a zone file and a steered name, for `dns`: in a
//! process of its own, so that its memory and processor time are its own.

use super::world::{REGIONS, STEERED, STEERED_TTL_SECONDS, ZONE, table};
use anyhow::{Context, Result};
use meridian_dns::server::{Server, Settings};
use meridian_dns::zone::{Names, ZoneSource, parse_records};
use meridian_dns::{Chosen, Client, CookieSecret, Owner, Steer, Steered, View};
use meridian_steer::{Answer, Registries, Table};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// Options of the server.
#[derive(clap::Args)]
pub struct ServerOptions {
    /// Where to listen
    #[arg(long)]
    address: SocketAddr,
    /// Threads for datagrams
    #[arg(long)]
    threads: usize,
    /// The plain records
    #[arg(long)]
    zone_file: PathBuf,
}

/// Sends each client to the nearest region, as a region's own server does.
#[derive(Debug)]
struct Nearest {
    table: Table,
    places: Registries,
}

impl Steer for Nearest {
    fn steer(&self, _service: usize, client: &Client, chosen: &mut Chosen) -> u8 {
        let client =
            meridian_steer::Client::behind(&self.places, client.resolver, client.subnet, 0);
        let mut answer = Answer::default();
        self.table.decide(&client, &mut answer);
        for entry in answer.given() {
            chosen.push(usize::from(entry.region));
        }
        answer.scope_bits()
    }
}

/// What is served: the plain records of a zone file, and the steered name.
pub fn view(zone_file: &str) -> Result<View> {
    let apex = Owner::parse(ZONE)?;
    let addresses = REGIONS.map(|(_, address)| vec![IpAddr::V4(address)]);
    let names = Names::build(vec![ZoneSource {
        records: parse_records(&apex, zone_file)?,
        steered: vec![(
            apex.child(STEERED)?,
            Steered::new(0, STEERED_TTL_SECONDS, &addresses),
        )],
        apex,
        key: None,
    }]);
    let names = names.map_err(|faults| anyhow::anyhow!("the zone has faults: {faults:?}"))?;
    Ok(View {
        names,
        steer: Arc::new(Nearest {
            table: table()?,
            places: Registries::default(),
        }),
        nsid: (*b"bench").into(),
    })
}

/// Serves until the process is ended.
pub async fn serve(options: &ServerOptions) -> Result<bool> {
    let text = std::fs::read_to_string(&options.zone_file).context("read the zone file")?;
    let view = view(&text)?;
    drop(text);
    let settings = Settings {
        addresses: vec![options.address],
        threads: options.threads,
        answers_per_second_max: 200,
        limits_loopback: false,
        cookie_secret: CookieSecret::new(rand::random()),
    };
    let view = Arc::new(arc_swap::ArcSwap::from_pointee(view));
    let _server = Server::start(&settings, view).await?;
    std::future::pending().await
}
