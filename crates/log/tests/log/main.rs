//! What a log must stand: crashes, damage, a full disk, a lying disk.

mod beginning;
mod damage;
mod directory;
mod failures;
mod properties;
mod reading;
mod recovery;
mod support;
