//! Writes small databases in MaxMind's format (version 2.0 of its specification), for tests.

use std::net::IpAddr;

/// A value of a record.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Double(f64),
    Number(u32),
    Short(u16),
    Long(u64),
    Map(Vec<(String, Value)>),
}

#[derive(Clone, Copy)]
enum Entry {
    Nothing,
    Node(usize),
    Data(usize),
}

/// A database of these networks, each an address, its bits and its record.
pub(crate) fn write(kind: &str, networks: &[(&str, u8, Value)]) -> Vec<u8> {
    let mut nodes = vec![[Entry::Nothing; 2]];
    let mut data = Vec::new();
    for (address, bits, value) in networks {
        let (address, bits) = match address.parse().unwrap() {
            IpAddr::V4(address) => (u128::from(address.to_bits()), bits + 96),
            IpAddr::V6(address) => (address.to_bits(), *bits),
        };
        let mut node = 0;
        for place in 0..bits {
            let side = usize::from(address >> (127 - place) & 1 == 1);
            if place + 1 == bits {
                nodes[node][side] = Entry::Data(data.len());
            } else if let Entry::Node(next) = nodes[node][side] {
                node = next;
            } else {
                nodes.push([Entry::Nothing; 2]);
                nodes[node][side] = Entry::Node(nodes.len() - 1);
                node = nodes.len() - 1;
            }
        }
        encode(value, &mut data);
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for entry in nodes.into_iter().flatten() {
        let number = match entry {
            Entry::Nothing => count,
            Entry::Node(node) => node,
            Entry::Data(offset) => count + 16 + offset,
        };
        file.extend_from_slice(&(number as u32).to_be_bytes()[1..]);
    }
    file.extend_from_slice(&[0; 16]);
    file.extend(data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let short = |name: &str, number| (name.to_owned(), Value::Short(number));
    let metadata = Value::Map(vec![
        short("binary_format_major_version", 2),
        short("binary_format_minor_version", 0),
        ("build_epoch".to_owned(), Value::Long(1_700_000_000)),
        ("database_type".to_owned(), Value::Text(kind.to_owned())),
        ("description".to_owned(), Value::Map(Vec::new())),
        short("ip_version", 6),
        ("node_count".to_owned(), Value::Number(count as u32)),
        short("record_size", 24),
    ]);
    let mut encoded = Vec::new();
    encode(&metadata, &mut encoded);
    // An array of no languages: an extended type (11).
    encoded[0] += 1;
    encode(&Value::Text("languages".to_owned()), &mut encoded);
    encoded.extend_from_slice(&[0, 4]);
    file.extend(encoded);
    file
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    let mut head = |kind: u8, size: usize| {
        assert!(size < 29, "small ones only");
        out.push(kind << 5 | size as u8);
    };
    match value {
        Value::Text(text) => {
            head(2, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        Value::Double(number) => {
            head(3, 8);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Short(number) => {
            head(5, 2);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Long(number) => {
            // An extended type (9).
            head(0, 8);
            out.push(2);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Number(number) => {
            head(6, 4);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Map(members) => {
            head(7, members.len());
            for (name, value) in members {
                encode(&Value::Text(name.clone()), out);
                encode(value, out);
            }
        }
    }
}
