//! A log's files, damaged: recovery says so or gives a log that works, and never takes for whole
//! what isn't.
//!
//! The input is a list of damages to the files of a small sound log, six bytes each: which file,
//! what (a byte written over, a file cut off, a file removed, zeros over the rest, a part of another
//! file), where, with what.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_fuzz::{log_of, open_and_use};
use meridian_log::MemoryDisk;
use std::collections::BTreeMap;

type Files = BTreeMap<String, Vec<u8>>;

fuzz_target!(|data: &[u8]| {
    let (disk, names) = log_of(12);
    let mut files: Files = names
        .into_iter()
        .filter_map(|name| Some((name.clone(), disk.contents(&name)?)))
        .collect();
    for damage in data.chunks_exact(6).take(32) {
        apply(&mut files, damage);
    }
    open_and_use(&disk_of(&files));
});

fn apply(files: &mut Files, damage: &[u8]) {
    let names: Vec<String> = files.keys().cloned().collect();
    let [file, what, low, high, value, more] = *damage else {
        return;
    };
    let Some(name) = names.get(usize::from(file) % names.len().max(1)) else {
        return;
    };
    let offset = usize::from(u16::from_le_bytes([low, high]));
    let bytes = files.get_mut(name).expect("it is one of their names");
    let offset = offset % (bytes.len() + 1);
    match what % 6 {
        0 => bytes.truncate(offset),
        1 => bytes[offset..].fill(0),
        2 => drop(files.remove(name)),
        3 => {
            // A frame or a part of one where it doesn't belong.
            let from = usize::from(more) * 8 % (offset + 1);
            let part = bytes[from..offset].to_vec();
            let at = usize::from(value) * 8 % (bytes.len() + 1);
            let length = part.len().min(bytes.len() - at);
            bytes[at..at + length].copy_from_slice(&part[..length]);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte = value;
            }
        }
    }
}

fn disk_of(files: &Files) -> MemoryDisk {
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), &bytes[..]))
        .collect();
    meridian_log::fuzz::disk(&files)
}
