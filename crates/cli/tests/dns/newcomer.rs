//! What a newcomer does after `meridian up`: asks where to go, goes there, and takes regions away.

use super::ask::{A, NS, SOA, ask};
use super::support::{eventually, text};
use super::system::{System, http};
use super::{PATIENCE, REGIONS};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Networks in blocks of ARIN, RIPE NCC and APNIC, and the address of the region next to each.
const CLIENTS: [([u8; 3], Ipv4Addr); 3] = [
    ([3, 1, 1], Ipv4Addr::new(127, 0, 1, 1)),
    ([2, 1, 1], Ipv4Addr::new(127, 0, 1, 2)),
    ([1, 1, 1], Ipv4Addr::new(127, 0, 1, 3)),
];
const NAME: &str = "app.global.meridian.test";

#[test]
fn clients_find_their_region_and_the_application_there() {
    let system = System::start(27_480, None, &["--no-restart"]);
    for server in 0..3 {
        let server = system.dns(server);
        for (network, expected) in CLIENTS {
            // One that started late on a busy machine is thought dead for a moment.
            eventually("the nearest region", PATIENCE, || {
                let answer = ask(server, NAME, A, Some(network));
                (answer.addresses == [expected]).then_some(())
            });
        }
        for (index, region) in REGIONS.iter().enumerate() {
            let answer = ask(server, &format!("app.{region}.meridian.test"), A, None);
            assert_eq!(answer.addresses, [CLIENTS[index].1]);
        }
        assert_eq!(ask(server, "meridian.test", SOA, None).count, 1);
        assert_eq!(ask(server, "meridian.test", NS, None).count, 3);
        assert_eq!(ask(server, "nothing.meridian.test", A, None).rcode, 3);
        assert_eq!(ask(server, "example.com", A, None).rcode, 5);
    }

    // Who followed the answer counts a visit there, and the others show it.
    let page = |address, method| -> Option<Value> {
        let (status, body) = http(system.app(address), method, "/")?;
        (status == 200).then(|| serde_json::from_str(&body).unwrap())
    };
    let europe = CLIENTS[1].1;
    let said = eventually("a visit", PATIENCE, || page(europe, "POST"));
    assert_eq!(said["region"], "eu-west-1");
    for (index, (_, address)) in CLIENTS.iter().enumerate() {
        let said = eventually("the visit in every region", PATIENCE, || {
            page(*address, "GET").filter(|page| page["visits"]["eu-west-1"] == 1)
        });
        assert_eq!(said["region"], REGIONS[index]);
        let healthy = http(system.app(*address), "GET", "/healthz").unwrap();
        assert_eq!(healthy.0, 200);
    }

    let (_, metrics) = http(system.api(0), "GET", "/metrics").unwrap();
    assert!(metrics.contains("meridian_dns_queries_total{transport=\"udp\"}"));
    let status = system.run(&["status", "--output", "json"]);
    let status: Value = serde_json::from_slice(&status.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&status)));
    let dns = &status[0]["status"]["dns"];
    assert!(dns["queries"].as_u64().unwrap() >= 10, "{dns}");
    let status = text(&system.run(&["status"]));
    assert!(status.contains("dns queries/s"), "{status}");

    // The last one there answers still, and its application with it.
    system.kill("eu-west-1");
    system.kill("us-east-1");
    let last = system.dns(2);
    for (network, _) in CLIENTS {
        let answer = ask(last, NAME, A, Some(network));
        assert_eq!((answer.rcode, answer.count), (0, 1), "{network:?}");
    }
    let said = eventually("the last region's page", PATIENCE, || {
        page(CLIENTS[2].1, "GET")
    });
    assert_eq!(said["region"], "ap-northeast-1");
}

#[test]
fn a_region_that_joins_is_led_to_by_those_that_were_there() {
    let topology = "zone = \"meridian.test\"\n\
                    [[region]]\nname = \"us-east-1\"\n[[region]]\nname = \"eu-west-1\"\n\
                    [[dataset]]\nname = \"main\"\nengine = \"embedded\"\n\
                    [route.app]\npolicy = \"multivalue\"\n";
    let system = System::start(28_680, Some(topology), &["--no-restart"]);
    let joined = system.run(&["regions", "add", "ap-northeast-1"]);
    assert!(joined.status.success(), "{}", text(&joined));
    let address = CLIENTS[2].1;
    for server in [0, 1, 2].map(|region| system.dns(region)) {
        eventually("its own name", PATIENCE, || {
            let answer = ask(server, "app.ap-northeast-1.meridian.test", A, None);
            (answer.addresses == [address]).then_some(())
        });
        eventually("clients are sent there", PATIENCE, || {
            let answer = ask(server, NAME, A, None);
            answer.addresses.contains(&address).then_some(())
        });
        let servers = ask(server, "meridian.test", NS, None);
        assert_eq!(servers.count, 3);
    }
    // Where it is dead, nobody is sent there.
    system.kill("us-east-1");
    let gone = CLIENTS[0].1;
    for server in [1, 2].map(|region| system.dns(region)) {
        eventually("two are left", PATIENCE, || {
            let answer = ask(server, NAME, A, None);
            let is_left = answer.addresses.contains(&address) && !answer.addresses.contains(&gone);
            is_left.then_some(())
        });
    }
}

#[test]
fn a_network_keeps_what_chance_gave_it_unless_its_route_says_otherwise() {
    let mut topology = "zone = \"meridian.test\"\n".to_owned();
    for region in REGIONS {
        topology += &format!("[[region]]\nname = \"{region}\"\n");
    }
    topology += "[[dataset]]\nname = \"main\"\nengine = \"embedded\"\n\
                 strategy = \"last-writer-wins\"\n";
    for (route, sticky) in [("kept", true), ("drawn", false)] {
        topology += &format!("[route.{route}]\npolicy = \"weighted\"\nsticky = {sticky}\n");
    }
    let system = System::start(27_880, Some(&topology), &[]);
    let given = |route: &str| {
        let name = format!("{route}.global.meridian.test");
        let mut given = BTreeSet::new();
        for _ in 0..60 {
            given.extend(ask(system.dns(0), &name, A, Some([2, 1, 1])).addresses);
        }
        given.len()
    };
    eventually("each region is drawn", PATIENCE, || {
        (given("drawn") == 3).then_some(())
    });
    eventually("one is kept", PATIENCE, || {
        (given("kept") == 1).then_some(())
    });
}
