//! What a client may see that carries its token from region to region: its own writes, nothing
//! older than it saw before, and causes with their effects.
//!
//! Each key has one writer whose numbers rise, and who takes a new key when it doesn't know what
//! became of a write. So within a session a key's number never falls, and a row that tells what its
//! writer had seen brings that with it.

use crate::Violation;
use std::collections::BTreeMap;

/// One client's session, or what several handed to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    floors: BTreeMap<String, u64>,
}

impl Session {
    /// The client's write of this number was acknowledged.
    pub fn wrote(&mut self, key: &str, number: u64) {
        self.raise(key, number);
    }

    /// What it has seen of a key at least.
    #[must_use]
    pub fn floor(&self, key: &str) -> u64 {
        self.floors.get(key).copied().unwrap_or(0)
    }

    /// The client reads a key and finds this number (0 for no row), in a row whose writer had seen
    /// `causes`.
    ///
    /// # Errors
    /// [`Violation::SessionBroken`] where the number is lower than what the session has seen.
    pub fn read(
        &mut self,
        region: &str,
        key: &str,
        found: u64,
        causes: &[(String, u64)],
    ) -> Result<(), Violation> {
        let floor = self.floor(key);
        if found < floor {
            return Err(Violation::SessionBroken {
                region: region.to_owned(),
                key: key.to_owned(),
                seen: floor,
                now: found,
            });
        }
        self.raise(key, found);
        for (key, number) in causes {
            self.raise(key, *number);
        }
        Ok(())
    }

    /// Another client's token was handed to this one.
    pub fn follow(&mut self, other: &Self) {
        for (key, number) in &other.floors {
            self.raise(key, *number);
        }
    }

    fn raise(&mut self, key: &str, number: u64) {
        let floor = self.floors.entry(key.to_owned()).or_default();
        *floor = (*floor).max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_writes_and_what_was_read_stay() {
        let mut session = Session::default();
        session.wrote("a", 3);
        assert!(session.read("x", "a", 2, &[]).is_err(), "own write");
        session.read("x", "a", 5, &[]).unwrap();
        assert!(session.read("y", "a", 4, &[]).is_err(), "read before");
        assert!(session.read("y", "b", 0, &[]).is_ok());
    }

    #[test]
    fn causes_come_with_effects_and_tokens() {
        let mut session = Session::default();
        let causes = [("a".to_owned(), 7)];
        session.read("x", "b", 1, &causes).unwrap();
        assert!(session.read("x", "a", 6, &[]).is_err());
        let mut other = Session::default();
        other.read("y", "a", 6, &[]).unwrap();
        other.follow(&session);
        assert!(other.read("y", "a", 6, &[]).is_err());
        assert!(other.read("y", "a", 7, &[]).is_ok());
    }
}
