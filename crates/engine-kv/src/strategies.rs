//! Which strategy this region's clients' writes follow, by table.

use meridian_model::Strategy;
use std::collections::BTreeMap;

/// The strategies of a dataset's tables. They decide what kind of change a put or delete of this
/// region's clients becomes; what comes from elsewhere has its kind already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strategies {
    /// Of tables that have none of their own.
    pub default: Strategy,
    /// Of tables that have, by name.
    pub tables: BTreeMap<String, Strategy>,
}

impl Strategies {
    /// The strategy of a table.
    #[must_use]
    pub fn of(&self, table: &str) -> Strategy {
        // A map without entries is the common case, and then costs nothing.
        self.tables.get(table).copied().unwrap_or(self.default)
    }
}
