//! What the fuzz targets reach of this crate beyond its public face.

use crate::MemoryDisk;
use crate::disk::Disk as _;
use crate::format::{FRAME_HEADER_BYTES, SegmentHeader, frame_header, frame_seed};
use crate::segment::file_name;
use meridian_model::{Marks, Position};

/// A disk with one segment whose checksums are right and whose frames hold these payloads: what a
/// checksum would keep from the decoders reaches them.
///
/// # Panics
/// Never; the disk is in memory.
#[must_use]
pub fn sealed(payloads: &[(u32, &[u8])]) -> MemoryDisk {
    let (mut bytes, seed) = SegmentHeader {
        first: Position::default(),
        marks: Marks::default(),
    }
    .encode();
    let mut first = 0;
    for (count, payload) in payloads {
        let seed = frame_seed(seed, bytes.len() as u64);
        bytes.extend(frame_header(seed, Position(first), *count, payload));
        bytes.extend_from_slice(payload);
        first += u64::from(*count);
    }
    bytes.resize(bytes.len() + FRAME_HEADER_BYTES + 512, 0);
    disk(&[(&file_name(Position::default()), &bytes)])
}

/// A disk with these files, all durable.
///
/// # Panics
/// Never; the disk is in memory.
#[must_use]
pub fn disk(files: &[(&str, &[u8])]) -> MemoryDisk {
    let disk = MemoryDisk::new();
    for (name, bytes) in files {
        disk.create(name, bytes.len() as u64)
            .and_then(|()| disk.write_at(name, 0, bytes))
            .and_then(|()| disk.sync(name))
            .expect("a disk in memory without limits takes every file");
    }
    disk
}
