//! How single rows stand, for whoever compares server and tables.

use super::Projection;
use meridian_model::RowName;

/// How a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowStanding {
    /// The server shows what the tables show, as far as is known here.
    Settled,
    /// It is to be written, or is written and not captured yet.
    UnderWay,
    /// It is kept out of the server, or in the state that it had there.
    Parked,
}

impl Projection {
    /// How a row stands.
    #[must_use]
    pub fn standing(&self, row: &RowName) -> RowStanding {
        let is_issued = self
            .issued
            .as_ref()
            .is_some_and(|issued| issued.rows.contains(row));
        let mut written = self.written.iter();
        let is_written = written.any(|written| written.is_large || written.asked.has(row));
        // What is told of a large transaction is known of no single row.
        let is_large = self.large || self.telling_large.is_some();
        if self.dirty.contains(row) || is_issued || is_written || is_large {
            return RowStanding::UnderWay;
        }
        match self.parked.has(row) {
            true => RowStanding::Parked,
            false => RowStanding::Settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::{Hindrance, Outcome, Parked};
    use crate::tag::Tag;
    use crate::{Lsn, Xid};
    use meridian_model::{Position, Vector};

    #[test]
    fn a_row_is_settled_once_what_was_written_is_captured() {
        let row = RowName {
            table: "public.t".to_owned(),
            key: "1".to_owned(),
        };
        let mut machine = Projection::new(Lsn(0), []);
        assert_eq!(machine.standing(&row), RowStanding::Settled);
        machine.touched([row.clone()]);
        assert_eq!(machine.standing(&row), RowStanding::UnderWay, "dirty");
        let batch = machine.next_batch().unwrap();
        let id = batch.id;
        let _ = machine.projected(batch, Position(1), Vector::default(), vec![None]);
        assert_eq!(machine.standing(&row), RowStanding::UnderWay, "issued");
        let parked = Parked {
            row: row.clone(),
            hindrance: Hindrance::Refused {
                reason: String::new(),
            },
        };
        let outcome = Outcome::Committed {
            xid: Xid(7),
            end: Lsn(100),
            parked: vec![parked],
        };
        machine.outcome(id, outcome);
        assert_eq!(machine.standing(&row), RowStanding::UnderWay, "written");
        let tag = Tag {
            position: Position(1),
            seen: Vector::default(),
        };
        machine.transaction_captured(Xid(7), Some(&tag), Lsn(100));
        assert_eq!(machine.standing(&row), RowStanding::Parked);
    }
}
