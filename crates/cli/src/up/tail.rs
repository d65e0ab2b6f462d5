//! The last lines of a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// How much of the end is looked at.
const TAIL_BYTES: u64 = 16 << 10;

/// The last lines of what was written to a file from `from` on, at most `count`; none if it cannot be
/// read.
pub fn last_lines(path: &Path, from: u64, count: usize) -> Vec<String> {
    read(path, from).map_or_else(
        |_| Vec::new(),
        |text| {
            let lines: Vec<_> = text
                .lines()
                .filter(|line| !line.trim().is_empty())
                .collect();
            let skipped = lines.len().saturating_sub(count);
            lines[skipped..]
                .iter()
                .map(|line| (*line).to_owned())
                .collect()
        },
    )
}

fn read(path: &Path, from: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL_BYTES).max(from.min(length));
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_of_this_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.txt");
        std::fs::write(&path, "old\na\n\nb\nc\n").unwrap();
        assert_eq!(last_lines(&path, 4, 2), ["b", "c"]);
        assert_eq!(last_lines(&path, 4, 9), ["a", "b", "c"]);
        assert!(last_lines(&directory.path().join("none"), 0, 9).is_empty());
    }
}
