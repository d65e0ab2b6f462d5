//! What Meridian's own objects in a server are called.

use crate::catalog::{Fingerprint, TableName};

/// The schema for everything that Meridian keeps in a server.
pub const SCHEMA: &str = "meridian";

/// The name of a dataset's publication and of its slot: a slot's takes `a-z`, `0-9` and `_` alone.
/// Names of datasets have no `_`, so two of them never become one.
#[must_use]
pub fn of_dataset(dataset: &str) -> String {
    format!("meridian_{}", dataset.replace('-', "_"))
}

/// The table with the position that each dataset has reached in this server.
#[must_use]
pub fn position_table() -> TableName {
    TableName {
        schema: SCHEMA.to_owned(),
        name: "position".to_owned(),
    }
}

/// The table with the rows that constraints keep out of this server.
#[must_use]
pub fn parked_table() -> TableName {
    TableName {
        schema: SCHEMA.to_owned(),
        name: "parked".to_owned(),
    }
}

/// What a region's session is for, as the server shows it: capture with these tables.
#[must_use]
pub fn session(tables: Fingerprint) -> String {
    format!("session {tables}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_can_be_called_so() {
        let name = of_dataset("shop-2");
        assert_eq!(name, "meridian_shop_2");
        assert!(
            name.bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        );
        let longest = of_dataset(&"a".repeat(40));
        assert!(longest.len() < 64, "PostgreSQL cuts names at 63 bytes");
    }
}
