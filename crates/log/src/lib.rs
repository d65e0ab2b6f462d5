//! One dataset's durable log in one region: every origin's entries, in this region's order.
//!
//! What is committed is on the disk when [`Log::commit`] returns; what a [`Reader`] sees is on the
//! disk too, so nothing leaves a region before it is durable there. Opening a log reads all of it
//! and either restores a state that loses nothing acknowledged, or says what is wrong and where.
//!
//! ```text
//!  commit ─▶ frame ─▶ active segment ─▶ fdatasync ─▶ visible to readers ─▶ trimmed, a segment at a
//!            (one per group of entries)              (tail cache, files)    time, once all hold it
//! ```
//!
//! The log assumes of the disk that bytes reported as synced stay, that a sector (512 bytes) is
//! written whole or not at all, and that writing some bytes leaves the others alone. Where a disk
//! breaks that, checksums and the entries' history hashes show it.
//!
//! One process opens a directory at a time; holding it to that is the owner's business.

mod begin;
mod directory;
mod disk;
mod error;
mod format;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod log;
mod memory_disk;
mod reader;
mod recover;
mod scan;
mod segment;
mod spare;
mod state;

pub use directory::Directory;
pub use disk::Disk;
pub use error::LogError;
pub use log::{Log, LogConfig};
pub use memory_disk::{MemoryDisk, SECTOR_BYTES};
pub use reader::{Batch, Reader};
