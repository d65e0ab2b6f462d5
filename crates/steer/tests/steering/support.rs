//! Pictures and clients to begin with.

use meridian_health::{PerService, Status};
use meridian_steer::{
    Answer, By, Client, Effective, Geo, Key, Picture, Policy, RegionPicture, Registries, Route,
    Table,
};
use meridian_topology::well_known;
use std::net::IpAddr;

pub const TRIO: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];

/// Healthy regions, as the first sees them.
pub fn picture(names: &[&str]) -> Picture {
    let region = |name: &&str| RegionPicture::healthy(name, well_known(name).unwrap());
    Picture {
        regions: names.iter().map(region).collect(),
        own: 0,
        has_quorum: true,
    }
}

pub fn set_status(picture: &mut Picture, region: usize, status: Status) {
    let health = &mut picture.regions[region].health;
    health.verdict = PerService::with(|_| Some(status));
    health.seen = health.verdict;
}

pub fn client(address: &str) -> Client {
    let address: IpAddr = address.parse().unwrap();
    Client {
        located: Registries::default().locate(address),
        key: Key::of_network(address, 24),
        key_bits: 24,
        network_bits: 24,
    }
}

/// A client of some network, nobody knows where.
pub fn client_number(number: u64) -> Client {
    Client {
        located: None,
        key: Key::of_bytes(&number.to_le_bytes()),
        key_bits: 32,
        network_bits: 32,
    }
}

pub fn table(route: &Route, picture: &Picture) -> Table {
    Table::compile(route, picture, &Effective::default()).unwrap()
}

pub fn over(by: By, picture: &Picture) -> Table {
    let names: Vec<_> = picture
        .regions
        .iter()
        .map(|region| region.name.as_str())
        .collect();
    table(&Route::new("app", Policy::over(by, &names)), picture)
}

pub fn answer(table: &Table, client: &Client) -> Answer {
    let mut answer = Answer::default();
    table.decide(client, &mut answer);
    answer
}

/// The regions in order, by index.
pub fn order(table: &Table, client: &Client) -> Vec<usize> {
    let answer = answer(table, client);
    let entries = answer.entries().iter();
    entries.map(|entry| usize::from(entry.region)).collect()
}

pub fn first(table: &Table, client: &Client) -> usize {
    answer(table, client).first().unwrap()
}
