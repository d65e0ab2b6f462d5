//! Counts and hashes what is written.

use std::io::{self, Write};
use xxhash_rust::xxh3::Xxh3;

pub(super) struct Counted<W> {
    to: W,
    hasher: Xxh3,
    bytes: u64,
}

impl<W> std::fmt::Debug for Counted<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Counted({} bytes)", self.bytes)
    }
}

impl<W> Counted<W> {
    pub(super) fn new(to: W) -> Self {
        Self {
            to,
            hasher: Xxh3::new(),
            bytes: 0,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn digest(&self) -> String {
        format!("{:032x}", self.hasher.digest128())
    }

    pub(super) fn into_inner(self) -> W {
        self.to
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
