//! `[dns]`: how the zone is served, and its static records.

use super::route::read_ttl;
use super::schema;
use super::section::{At, Section};
use crate::dns::{Dns, StaticRecord};
use crate::fault::Faults;
use crate::name::is_dns_label;
use std::path::Path;
use toml::de::DeValue;

/// Beyond this a limit is none.
const ANSWERS_AT_MOST: u64 = 10_000_000;
const THREADS_AT_MOST: u64 = 64;

/// What a section is read with.
struct Reader<'s, 'd, 'f, 't> {
    section: &'s Section<'d>,
    base: &'s Path,
    faults: &'f mut Faults<'t>,
}

/// Reads it; what is wrong has its default.
pub(super) fn read(root: &Section<'_>, base: &Path, faults: &mut Faults<'_>) -> Dns {
    let Some(table) = root.table("dns", faults) else {
        return Dns::default();
    };
    let section = Section::open(table, "[dns]", schema::DNS, faults);
    let mut reader = Reader {
        section: &section,
        base,
        faults,
    };
    reader.read()
}

impl Reader<'_, '_, '_, '_> {
    fn read(&mut self) -> Dns {
        let defaults = Dns::default();
        let (section, base) = (self.section, self.base);
        let count = |key, at_most, faults: &mut Faults<'_>| {
            let least = u64::from(key == "threads");
            section.count(key, least..=at_most, faults)
        };
        let rate = count("answers-per-second-max", ANSWERS_AT_MOST, self.faults);
        let threads = count("threads", THREADS_AT_MOST, self.faults);
        let path = |key, faults: &mut Faults<'_>| {
            let path = section.path(key, faults);
            path.map(|path| base.join(path.value))
        };
        Dns {
            ttl: read_ttl(section, "ttl", self.faults).unwrap_or(defaults.ttl),
            records_ttl: read_ttl(section, "records-ttl", self.faults)
                .unwrap_or(defaults.records_ttl),
            name_servers: self.name_servers(),
            hostmaster: self.hostmaster(),
            records: self.records(),
            dnssec_key_file: path("dnssec-key-file", self.faults),
            answers_per_second_max: rate
                .map_or(defaults.answers_per_second_max, |rate| rate.value as u32),
            limits_loopback: section.flag("limit-loopback", self.faults),
            client_subnet: section.flag_or("client-subnet", true, self.faults),
            cookie_secret_file: path("cookie-secret-file", self.faults),
            threads: threads.map_or(defaults.threads, |threads| threads.value as usize),
        }
    }

    fn name_servers(&mut self) -> Vec<String> {
        let names = self.section.texts("name-servers", self.faults);
        let names = names.map_or_else(Vec::new, |names| names.value);
        let mut servers = Vec::new();
        for name in names {
            let bare = name.value.trim_end_matches('.').to_ascii_lowercase();
            if bare.len() <= 253 && bare.contains('.') && bare.split('.').all(is_dns_label) {
                servers.push(bare);
                continue;
            }
            self.faults.report(
                name.at,
                format!("{:?} is not the name of a name server", name.value),
                "give whole names, for example \"ns1.example.com\"",
            );
        }
        servers
    }

    /// A mail address. Its local part becomes a label of the SOA record, so it is kept simple.
    fn hostmaster(&mut self) -> Option<String> {
        let text = self.section.text("hostmaster", self.faults)?;
        let good = text.value.split_once('@').is_some_and(|(local, host)| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+.".contains(&byte);
            (1..=63).contains(&local.len())
                && local.bytes().all(is_plain)
                && host.to_ascii_lowercase().split('.').all(is_dns_label)
        });
        if !good {
            self.faults.report(
                text.at,
                format!("{:?} is not a mail address", text.value),
                "for example hostmaster = \"dns@example.com\"",
            );
        }
        good.then(|| text.value.to_owned())
    }

    fn records(&mut self) -> Vec<StaticRecord> {
        let Some(table) = self.section.table("records", self.faults) else {
            return Vec::new();
        };
        // A name's records are an array, or one string.
        let mut records = Vec::new();
        for (name, value) in table.value {
            let name = At {
                value: name.get_ref().as_ref(),
                at: name.span().start,
            };
            if let Some(whole) = dotted(name.value, value.get_ref()) {
                self.faults.report(
                    name.at,
                    format!("{whole:?} has a dot, so it has to stand in quotes"),
                    format!("write {whole:?} = …; without quotes TOML makes a table of it"),
                );
                continue;
            }
            self.check_name(&name);
            let texts: Vec<_> = match value.get_ref().as_array() {
                Some(array) => array.iter().collect(),
                None => vec![value],
            };
            for text in texts {
                let at = text.span().start;
                let Some(record) = text.get_ref().as_str().filter(|text| is_record(text)) else {
                    self.faults.report(
                        at,
                        format!("{:?} has what is no record", name.value),
                        "write [TTL] TYPE DATA as in a zone file, for example \"MX 10 mail.example.com.\"",
                    );
                    continue;
                };
                records.push(StaticRecord {
                    name: name.value.to_ascii_lowercase(),
                    text: record.to_owned(),
                    position: Some(self.faults.position(at)),
                });
            }
        }
        records
    }

    fn check_name(&mut self, name: &At<&str>) {
        let is_label = |label: &str| {
            label == "*" || is_dns_label(&label.to_ascii_lowercase().replace('_', "a"))
        };
        if name.value == "@" || name.value.split('.').all(is_label) {
            return;
        }
        self.faults.report(
            name.at,
            format!("{:?} is not a name below the zone", name.value),
            "give names without the zone, or \"@\" for the zone itself",
        );
    }
}

/// The name that was meant by a key of TOML's with dots: `a.b = …` is a table `a` with the key `b`.
fn dotted(name: &str, value: &DeValue<'_>) -> Option<String> {
    let (key, value) = value.as_table()?.iter().next()?;
    let name = format!("{name}.{}", key.get_ref());
    Some(dotted(&name, value.get_ref()).unwrap_or(name))
}

/// Whether it looks like a record of one line; the name server reads it more closely.
fn is_record(text: &str) -> bool {
    let words = text.split_whitespace().count();
    words >= 2 && !text.chars().any(char::is_control) && !text.starts_with([' ', '$', ';', '('])
}
