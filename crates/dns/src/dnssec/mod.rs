//! Signing while answering (RFC 4034, RFC 4035), with ECDSA P-256 (RFC 6605).
//!
//! A zone has one key, which signs its records and itself. Answers depend on who asks, so there is
//! nothing to sign beforehand; each set is signed when it is first wanted and the signature kept with
//! it. What isn't there is denied by a record made for the question (compact denial, RFC 9824): the
//! name that was asked for is said to exist without the type, so no other name is told, and no chain
//! of names has to be kept. A wildcard's records are signed as the asked name's own.
//!
//! Such a record says that the name has the types NSEC and RRSIG, so these can be asked for too: the
//! first is answered with that very record, the second with what signs it.

mod denial;
mod key;

pub(crate) use denial::{Denied, deny};
pub use key::{KeyFault, Validity, ZoneKey};
