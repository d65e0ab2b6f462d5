//! Where in the log a server was given rows that counted as given before. Pure.
//!
//! A table that comes in with a part of its rows lacks others of which the server counts as having been
//! given the last write; so do rows of which somebody chose what the regions have. While they are still
//! to be given, it is known which they are ([`super::rest`]). A server that is put back to a moment before
//! that has yet to be given them again, and nothing else tells: so of each table the place is kept behind
//! which it was filled last. It is kept for ever, since nobody knows how old a backup will be.

use meridian_model::{OriginId, Position};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// By table, behind which position in the log of which incarnation the server was filled last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fills(BTreeMap<String, (OriginId, Position)>);

impl Fills {
    /// What the server is given from behind here fills these tables.
    pub fn note(&mut self, tables: BTreeSet<String>, (own, from): (OriginId, Position)) {
        let tables = tables.into_iter().map(|table| (table, (own, from)));
        self.0.extend(tables);
    }

    /// The tables that were filled behind one of these places.
    pub(super) fn after(&self, is_after: impl Fn(OriginId, Position) -> bool) -> BTreeSet<String> {
        let fills = self.0.iter();
        let fills = fills.filter(|(_, (origin, from))| is_after(*origin, *from));
        fills.map(|(table, _)| table.clone()).collect()
    }
}
