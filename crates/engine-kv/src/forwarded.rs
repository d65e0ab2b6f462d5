//! A write as it travels to the region that takes it.

use crate::Request;
use meridian_model::Vector;
use meridian_model::mutation::{self, Mutation};
use serde::{Deserialize, Serialize};

/// A client's write, handed on by a region that doesn't take it. The client's idempotency key goes
/// with it: where the same write comes again, it is known by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardedWrite {
    /// What to do.
    pub request: Request,
    /// What its client has seen, which the region has to have seen too.
    pub seen: Option<Vector>,
}

impl ForwardedWrite {
    /// Reads it back; `None` where a release that this one doesn't understand wrote it.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (write, rest) = postcard::take_from_bytes::<Self>(bytes).ok()?;
        let keyless = mutation::active(Mutation::ForwardedWithoutKey);
        let mut write = rest.is_empty().then_some(write)?;
        write.request.idempotency.take_if(|_| keyless);
        Some(write)
    }

    /// Its bytes.
    ///
    /// # Panics
    /// Never: a request has no unencodable parts.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a request has no unencodable parts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Precondition, PreconditionKind, RowOperation, Tags};
    use meridian_model::{Hlc, IdempotencyKey, OriginId};

    fn write() -> ForwardedWrite {
        let (table, key) = ("t".to_owned(), "k".to_owned());
        ForwardedWrite {
            request: Request {
                operations: vec![RowOperation {
                    table: table.clone(),
                    key: key.clone(),
                    action: Action::Put {
                        document: "{}".to_owned(),
                    },
                }],
                preconditions: vec![Precondition {
                    table,
                    key,
                    kind: PreconditionKind::IfMatch(Tags::Versions(vec!["1-2".to_owned()])),
                }],
                idempotency: Some(IdempotencyKey {
                    key: "once".to_owned(),
                    fingerprint: 7,
                }),
            },
            seen: Some([(OriginId(1), Hlc::from_raw(9))].into_iter().collect()),
        }
    }

    #[test]
    fn a_write_reads_back_and_no_part_of_it_does() {
        let bytes = write().encode();
        assert_eq!(ForwardedWrite::decode(&bytes), Some(write()));
        for end in 0..bytes.len() {
            assert!(ForwardedWrite::decode(&bytes[..end]).is_none(), "{end}");
        }
        assert!(ForwardedWrite::decode(&[&bytes[..], &[0]].concat()).is_none());
    }
}
