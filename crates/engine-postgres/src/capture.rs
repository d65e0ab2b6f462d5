//! Capture: the server's committed transactions, in WAL order.

use crate::catalog::TableName;
use crate::tag::Tag;
use crate::{Lsn, Xid};
use meridian_model::Micros;
use std::sync::Arc;

/// What the slot has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A transaction was committed.
    Transaction(CapturedTransaction),
    /// All that was committed before this position has been told.
    Passed(Lsn),
}

/// A transaction that the server committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedTransaction {
    /// Where the WAL goes on after its commit record.
    pub end: Lsn,
    /// Its id; rows written in savepoints carry others.
    pub xid: Xid,
    /// The server's clock at its commit.
    pub committed_at: Micros,
    /// Set where a projection wrote it.
    pub tag: Option<Tag>,
    /// What it did, in its order.
    pub changes: Vec<RowChange>,
}

/// A relation as the stream describes it, as of the changes that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its id in the server.
    pub oid: u32,
    /// Its name.
    pub name: TableName,
    /// What old rows carry: `d` the key, `f` all columns, `n` nothing, `i` an index's columns.
    pub replica_identity: char,
    /// Its columns, without generated ones.
    pub columns: Vec<RelationColumn>,
}

/// A column as the stream describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// Its name.
    pub name: String,
    /// Whether it belongs to the replica identity.
    pub is_identity: bool,
    /// Its type's id.
    pub type_oid: u32,
    /// Its type's modifier.
    pub type_modifier: i32,
}

/// What a transaction did to a row, or to tables as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    /// A row came.
    Insert {
        /// Its table.
        relation: Arc<Relation>,
        /// Its values.
        new: Tuple,
    },
    /// A row changed.
    Update {
        /// Its table.
        relation: Arc<Relation>,
        /// What it was: all columns under full replica identity, the key's where the key changed,
        /// else nothing.
        old: Option<Tuple>,
        /// Its values now.
        new: Tuple,
    },
    /// A row went.
    Delete {
        /// Its table.
        relation: Arc<Relation>,
        /// What it was, or its key's columns only.
        old: Tuple,
    },
    /// Tables were emptied.
    Truncate {
        /// The tables.
        relations: Vec<Arc<Relation>>,
    },
}

/// A row's values, in the order of the relation's columns.
pub type Tuple = Vec<Datum>;

/// A value in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// NULL, or a column that is not told.
    Null,
    /// A large value that the change left alone; under full replica identity the old row has it.
    Unchanged,
    /// Its text.
    Text(String),
}
