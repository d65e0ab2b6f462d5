//! How far all batches are acknowledged, while replies come in any order.

use super::source::Place;
use std::collections::BTreeMap;

/// The acknowledged beginning of the file.
#[derive(Debug)]
pub struct Prefix {
    /// The number of the first batch that is not acknowledged.
    next: u64,
    /// The place before that batch.
    end: Place,
    /// Acknowledged batches beyond it.
    ahead: BTreeMap<u64, Place>,
}

impl Prefix {
    /// Nothing beyond `start` is acknowledged.
    pub fn new(start: Place) -> Self {
        Self {
            next: 0,
            end: start,
            ahead: BTreeMap::new(),
        }
    }

    /// Takes the acknowledgement of a batch that ends at `end`; whether the prefix grew.
    pub fn acknowledge(&mut self, number: u64, end: Place) -> bool {
        self.ahead.insert(number, end);
        let before = self.next;
        while let Some(end) = self.ahead.remove(&self.next) {
            self.end = end;
            self.next += 1;
        }
        self.next > before
    }

    /// The place up to which everything is acknowledged.
    pub fn end(&self) -> Place {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(rows: u64) -> Place {
        Place {
            offset: rows * 10,
            line: rows,
            rows,
        }
    }

    #[test]
    fn grows_only_where_nothing_is_missing() {
        let mut prefix = Prefix::new(place(5));
        assert!(!prefix.acknowledge(1, place(15)));
        assert!(!prefix.acknowledge(2, place(20)));
        assert_eq!(prefix.end(), place(5));
        assert!(prefix.acknowledge(0, place(10)));
        assert_eq!(prefix.end(), place(20));
    }
}
