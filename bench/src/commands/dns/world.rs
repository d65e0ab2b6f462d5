//! What is served and asked, the same for all systems: a zone of plain names, one name whose answer
//! depends on the client's network, and questions in a random order that is the same each time.

use anyhow::{Context, Result};
use meridian_steer::{
    Answer, By, Client, Effective, Picture, Policy, RegionPicture, Registries, Route, Table,
};
use meridian_topology::well_known;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::{IpAddr, Ipv4Addr};

/// The zone.
pub const ZONE: &str = "bench.test";
/// The regions that the steered name chooses among, and the address of each.
pub const REGIONS: [(&str, Ipv4Addr); 3] = [
    ("us-east-1", Ipv4Addr::new(192, 0, 2, 1)),
    ("eu-west-1", Ipv4Addr::new(192, 0, 2, 2)),
    ("ap-northeast-1", Ipv4Addr::new(192, 0, 2, 3)),
];
/// The steered name's label.
pub const STEERED: &str = "app";
/// The steered name's time to live.
pub const STEERED_TTL_SECONDS: u32 = 5;

/// The type OPT, the payload size 1232, no extended code, version 0, no flags.
const OPT: [u8; 9] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0];
const ADDRESS_TYPE: [u8; 4] = [0, 1, 0, 1];

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The plain name of this number.
    Static(u32),
    /// The steered name, for the /24 that begins with these octets.
    Steered([u8; 3]),
}

/// The plain records' zone file, SOA and NS included.
pub fn zone_file(names: u32) -> String {
    let mut text = String::from(
        "$TTL 300\n@ 60 SOA ns1 hostmaster 1 3600 600 86400 60\n@ NS ns1\n@ NS ns2\n\
         ns1 A 192.0.2.53\nns2 A 192.0.2.54\n",
    );
    for number in 0..names {
        text += &format!("h{number} A {}\n", address_of(number));
    }
    text
}

/// The address of a plain name.
pub fn address_of(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number)
}

/// The steered name's table, with every region well.
pub fn table() -> Result<Table> {
    let names = REGIONS.map(|(name, _)| name);
    let region = |name: &&str| {
        let place = well_known(name).with_context(|| format!("where {name} is"))?;
        Ok(RegionPicture::healthy(name, place))
    };
    let picture = Picture {
        regions: names.iter().map(region).collect::<Result<_>>()?,
        own: 0,
        has_quorum: true,
    };
    let route = Route::new(STEERED, Policy::over(By::Latency, &names));
    Table::compile(&route, &picture, &Effective::default()).context("compile the route")
}

/// For each block of 8 bits the region that its clients are sent to: the map that the others are given.
pub fn networks() -> Result<Vec<(u8, usize)>> {
    let (table, registries) = (table()?, Registries::default());
    let mut answer = Answer::default();
    let mut networks = Vec::new();
    for block in 1..=223 {
        let address = IpAddr::V4(Ipv4Addr::new(block, 0, 0, 0));
        let client = Client::behind(&registries, address, Some((address, 24)), 0);
        table.decide(&client, &mut answer);
        networks.push((block, answer.first().context("every client has a region")?));
    }
    Ok(networks)
}

/// So many questions about plain names.
pub fn static_questions(count: usize, names: u32) -> Vec<Asked> {
    let mut random = StdRng::seed_from_u64(1);
    (0..count)
        .map(|_| Asked::Static(random.random_range(0..names)))
        .collect()
}

/// So many questions about the steered name, for clients all over the unicast addresses.
pub fn steered_questions(count: usize) -> Vec<Asked> {
    let mut random = StdRng::seed_from_u64(2);
    let mut network = || loop {
        let [a, b, c, _] = random.random::<u32>().to_be_bytes();
        if (1..=223).contains(&a) && a != 127 {
            return [a, b, c];
        }
    };
    (0..count).map(|_| Asked::Steered(network())).collect()
}

impl Asked {
    /// The question's message, with an OPT record, as resolvers send it; dnsperf puts its own id.
    pub fn message(self) -> Vec<u8> {
        // One question, one additional record.
        let mut octets = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        let label = match self {
            Self::Static(number) => format!("h{number}"),
            Self::Steered(_) => STEERED.to_owned(),
        };
        for label in std::iter::once(label.as_str()).chain(ZONE.split('.')) {
            octets.push(label.len() as u8);
            octets.extend(label.as_bytes());
        }
        octets.push(0);
        octets.extend(ADDRESS_TYPE);
        octets.extend(OPT);
        match self {
            Self::Static(_) => octets.extend([0, 0]),
            // The option's code and length, IPv4, 24 bits known, scope 0 (RFC 7871 §6).
            Self::Steered([a, b, c]) => octets.extend([0, 11, 0, 8, 0, 7, 0, 1, 24, 0, a, b, c]),
        }
        octets
    }

    /// The address that every system has to answer with.
    pub fn expected(self, networks: &[(u8, usize)]) -> Result<Ipv4Addr> {
        match self {
            Self::Static(number) => Ok(address_of(number)),
            Self::Steered([block, ..]) => {
                let entry = networks.iter().find(|(of, _)| *of == block);
                let (_, region) = entry.context("every block has a region")?;
                Ok(REGIONS[*region].1)
            }
        }
    }
}

/// The one A record's address in an answer to this message; `None` where there isn't exactly one.
pub fn address_in(question: &[u8], answer: &[u8]) -> Option<Ipv4Addr> {
    let has_one = answer.get(6..8)? == [0, 1] && answer.get(3)? & 15 == 0;
    // The question without its OPT record, which is as long in the answer; then owner (a pointer),
    // type, class, TTL and length.
    let end = 12 + question[12..].iter().position(|octet| *octet == 0)? + 5;
    let record = answer.get(end..end + 16)?;
    let is_address = record[2..6] == ADDRESS_TYPE && record[10..12] == [0, 4];
    let octets: [u8; 4] = record[12..].try_into().ok()?;
    (has_one && is_address).then(|| Ipv4Addr::from(octets))
}

/// Messages as dnsperf reads them: each after its length, as in a TCP stream.
pub fn stream(questions: &[Asked]) -> Vec<u8> {
    let mut octets = Vec::new();
    for question in questions {
        let message = question.message();
        octets.extend((message.len() as u16).to_be_bytes());
        octets.extend(message);
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_has_the_region_of_its_registry() {
        let networks = networks().unwrap();
        let of = |block: u8| networks[usize::from(block) - 1].1;
        // ARIN, RIPE NCC, APNIC.
        assert_eq!((of(3), of(2), of(1)), (0, 1, 2));
    }

    #[test]
    fn an_answer_is_read_where_it_has_one_address_only() {
        let question = Asked::Static(7).message();
        let end = question.len() - 11;
        let mut answer = question[..end].to_vec();
        answer[2] = 0x84;
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 7]);
        let expected = Asked::Static(7).expected(&[]).unwrap();
        assert_eq!(address_in(&question, &answer), Some(expected));
        answer[3] = 3;
        assert_eq!(address_in(&question, &answer), None);
        answer[3] = 0;
        answer[7] = 2;
        assert_eq!(address_in(&question, &answer), None);
    }
}
