//! Names out of zones: which zone has a name, and what the name has.

use super::*;
use std::net::Ipv4Addr;

fn name(text: &str) -> Owner {
    Owner::parse(text).unwrap()
}

fn zone(apex: &str, records: &str) -> ZoneSource {
    let head = "$TTL 60\n@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n";
    let apex = name(apex);
    ZoneSource {
        records: parse_records(&apex, &format!("{head}{records}")).unwrap(),
        steered: Vec::new(),
        apex,
        key: None,
    }
}

/// The zone that has the name, and how many addresses the name has.
fn here(names: &Names, of: &str) -> Option<(String, u16)> {
    match names.find(name(of).octets()) {
        Found::Here { zone, node, .. } => {
            let addresses = node.set(Rtype::A).map_or(0, |set| set.count);
            Some((zone.apex.to_string(), addresses))
        }
        _ => None,
    }
}

#[test]
fn a_zone_below_another_has_its_names_whichever_comes_first() {
    let parent = || {
        zone(
            "z.test",
            "a.b NS ns1.a.b\nns1.a.b A 192.0.2.7\nx.a.b A 192.0.2.8\nother A 192.0.2.9\n",
        )
    };
    let child = || zone("a.b.z.test", "ns1 A 192.0.2.2\n");
    for sources in [vec![parent(), child()], vec![child(), parent()]] {
        let names = Names::build(sources).unwrap();
        let of = |text: &str| here(&names, text);
        assert_eq!(of("ns1.a.b.z.test"), Some(("a.b.z.test".to_owned(), 2)));
        assert_eq!(of("a.b.z.test"), Some(("a.b.z.test".to_owned(), 0)));
        assert_eq!(of("other.z.test"), Some(("z.test".to_owned(), 1)));
        // Only the parent has the name between.
        assert_eq!(of("b.z.test"), Some(("z.test".to_owned(), 0)));
        // What the parent has below the cut, the child doesn't know.
        assert!(matches!(
            names.find(name("x.a.b.z.test").octets()),
            Found::Absent { zone } if zone.apex == name("a.b.z.test")
        ));
    }
}

#[test]
fn each_of_many_names_has_its_own_records() {
    let records: String = (0..5000_u32)
        .map(|number| format!("h{number} A {}\n", Ipv4Addr::from(number)))
        .collect();
    let names = Names::build(vec![zone("z.test", &records)]).unwrap();
    assert_eq!(names.len(), 5002);
    for number in 0..5000_u32 {
        let of = name(&format!("h{number}.z.test"));
        let Found::Here { node, .. } = names.find(of.octets()) else {
            panic!("{of} isn't there");
        };
        let set = node.set(Rtype::A).unwrap();
        assert_eq!(set.data().collect::<Vec<_>>(), [number.to_be_bytes()]);
    }
    assert!(here(&names, "h5000.z.test").is_none());
}

#[test]
fn a_steered_name_has_no_records_and_is_there_once() {
    let build = |labels: &[&str]| {
        let mut source = zone("z.test", "a A 192.0.2.2\n");
        let steered = labels.iter().map(|label| {
            let owner = source.apex.child(label).unwrap();
            (owner, Steered::new(0, 5, &[]))
        });
        source.steered = steered.collect();
        Names::build(vec![source]).map(|names| names.len())
    };
    assert_eq!(build(&["b", "c.d"]), Ok(6));
    let refused = |owner| Err(vec![ZoneFault::SteeredAndMore(name(owner))]);
    assert_eq!(build(&["a"]), refused("a.z.test"));
    assert_eq!(build(&["b", "b"]), refused("b.z.test"));
}
