//! Records in the text form of RFC 1035 §5, from a zone file or a line of the topology.

use crate::owner::Owner;
use crate::records::Record;
use bytes::Bytes;
use domain::base::iana::Class;
use domain::base::name::Name;
use domain::base::rdata::ComposeRecordData;
use domain::base::{RecordData, Rtype};
use domain::zonefile::inplace::{Entry, Zonefile};

/// Text that is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// An entry breaks the format.
    #[error("line {line}: {reason}")]
    Format {
        /// The line on which the entry begins.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// `$INCLUDE`: a zone is one file here.
    #[error("$INCLUDE {0} isn't read: put its records into the file itself")]
    Include(String),
    /// A record of a type that has no meaning in a zone that is served like this.
    #[error("{owner} {rtype}: {reason}")]
    Type {
        /// Whose record it is.
        owner: Owner,
        /// Its type.
        rtype: Rtype,
        /// Why it isn't taken.
        reason: &'static str,
    },
}

/// The records of a text; names without a dot at their end are below `origin`.
///
/// # Errors
///
/// [`TextFault`] with line and column, or with the record that can't be served.
pub fn parse_records(origin: &Owner, text: &str) -> Result<Vec<Record>, TextFault> {
    let mut file = Zonefile::from(text);
    if !text.ends_with('\n') {
        file.extend_from_slice(b"\n");
    }
    file.set_default_class(Class::IN);
    file.set_origin(
        Name::from_octets(Bytes::copy_from_slice(origin.octets())).expect("an owner is a name"),
    );
    let mut records = Vec::new();
    loop {
        let from = file.current_offset();
        let scanned = match file.next_entry() {
            Ok(None) => break,
            Ok(Some(Entry::Record(record))) => record,
            Ok(Some(Entry::Include { path, .. })) => {
                return Err(TextFault::Include(path.to_string()));
            }
            Err(error) => {
                return Err(TextFault::Format {
                    line: line_of_entry(text, from),
                    reason: reason_of(&error.to_string()),
                });
            }
        };
        let owner = Owner::of(scanned.owner());
        let rtype = scanned.data().rtype();
        if let Some(reason) = not_served(rtype) {
            return Err(TextFault::Type {
                owner,
                rtype,
                reason,
            });
        }
        let mut data = Vec::new();
        let Ok(()) = scanned.data().compose_canonical_rdata(&mut data);
        records.push(Record {
            owner,
            rtype,
            ttl_seconds: scanned.ttl().as_secs(),
            data,
        });
    }
    Ok(records)
}

/// The line of the first entry behind an offset. The scanner itself tells only how far it had read when
/// it gave up, which is often the line after.
fn line_of_entry(text: &str, from: usize) -> usize {
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        at += line.len();
        let entry = line.split(';').next().unwrap_or_default().trim();
        if at > from && !entry.is_empty() {
            return number + 1;
        }
    }
    text.lines().count()
}

/// The scanner's message without its own idea of the place.
fn reason_of(message: &str) -> String {
    message
        .splitn(3, ':')
        .last()
        .unwrap_or(message)
        .trim()
        .to_owned()
}

/// Why records of a type are not taken.
fn not_served(rtype: Rtype) -> Option<&'static str> {
    match rtype {
        Rtype::DNAME => Some("redirecting whole subtrees isn't supported; use CNAME records"),
        Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 | Rtype::NSEC3PARAM | Rtype::DNSKEY => {
            Some("signing is done when a zone is asked; give the zone's key instead")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Owner {
        Owner::parse("meridian.test").unwrap()
    }

    #[test]
    fn a_zone_file_is_read() {
        let text =
            "$TTL 60\n@ IN NS ns1\nns1 A 192.0.2.1\nWww 5 CNAME App\n_x._tcp SRV 1 2 443 app\n";
        let records = parse_records(&zone(), text).unwrap();
        assert_eq!(records.len(), 4);
        assert_eq!(records[1].ttl_seconds, 60);
        assert_eq!(records[2].owner, Owner::parse("www.meridian.test").unwrap());
        assert_eq!(
            records[2].data,
            Owner::parse("app.meridian.test").unwrap().octets()
        );
    }

    #[test]
    fn a_fault_names_its_line() {
        let text = "a 5 A 192.0.2.1\n\n; a comment\nb 5 A nonsense\nc 5 A 192.0.2.1\n";
        let fault = parse_records(&zone(), text).unwrap_err();
        assert_eq!(fault.to_string(), "line 4: expected IPv4 address");
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        let refused = |text| parse_records(&zone(), text).unwrap_err();
        assert!(matches!(refused("a 5 DNAME b\n"), TextFault::Type { .. }));
        assert!(matches!(
            refused("$INCLUDE other.zone\n"),
            TextFault::Include(_)
        ));
    }
}
