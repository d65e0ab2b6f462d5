//! Linearizability of a register that one writer writes with rising numbers, as strong reads show
//! it.
//!
//! The writes are in order by themselves, so three rules say all: a read shows no number below one
//! that was acknowledged before it began, none below one that another read had shown before it
//! began, and none that has not been sent. (Lamport's atomic register: regular, and without new-old
//! inversion.) A write whose fate is unknown may show, or not, until a read has shown it.

use crate::Violation;

/// What the world knows of a register, in real time.
#[derive(Clone, Debug, Default)]
pub struct Register {
    sent: u64,
    floor: u64,
}

/// A read under way: what it has to show at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    floor: u64,
}

impl Register {
    /// The writer sends its next write; gives its number.
    pub fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    /// The write of this number was acknowledged.
    pub fn acknowledged(&mut self, number: u64) {
        self.floor = self.floor.max(number);
    }

    /// A strong read begins.
    #[must_use]
    pub fn begin(&self) -> Reading {
        Reading { floor: self.floor }
    }

    /// A strong read ends with this number; 0 for no row.
    ///
    /// # Errors
    /// [`Violation::Stale`] where it shows less than it has to.
    pub fn end(&mut self, region: &str, reading: Reading, found: u64) -> Result<(), Violation> {
        if found < reading.floor {
            return Err(Violation::Stale {
                region: region.to_owned(),
                found,
                known: reading.floor,
            });
        }
        if found > self.sent {
            return Err(Violation::Broken {
                region: region.to_owned(),
                what: format!("a read shows {found}, and only {} were sent", self.sent),
            });
        }
        self.floor = self.floor.max(found);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_before_shows() {
        let mut register = Register::default();
        let early = register.begin();
        let first = register.send();
        register.acknowledged(first);
        let late = register.begin();
        register.end("a", early, 0).unwrap();
        assert!(register.end("a", late, 0).is_err());
        register.end("a", late, 1).unwrap();
        assert!(register.end("a", late, 2).is_err(), "nobody sent it");
    }

    #[test]
    fn what_another_read_had_shown_before_shows() {
        let mut register = Register::default();
        register.send();
        let both = register.begin();
        register.end("a", both, 1).unwrap();
        let later = register.begin();
        register.end("b", both, 0).unwrap();
        assert!(register.end("b", later, 0).is_err(), "new, then old");
    }
}
