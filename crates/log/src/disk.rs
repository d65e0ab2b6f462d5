//! The disk as the log needs it: one flat directory of files, blocking calls.
//!
//! A trait, so that the simulator can tear writes, fill the disk and lie about syncs under the very
//! code that runs in production.

use std::io;

/// One directory of files. Clones share the same directory.
pub trait Disk: Clone + Send + Sync + 'static {
    /// The files' names, in any order. They are durable when this returns: a file that is listed is
    /// still there after a power cut, and one that isn't does not come back.
    ///
    /// # Errors
    /// When the directory can't be read or synced.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new file of `size` zero bytes, really written (not sparse), so that writing into it later
    /// changes no metadata. File and name are durable when this returns.
    ///
    /// # Errors
    /// When the file exists or can't be written; no file is left behind then.
    fn create(&self, name: &str, size: u64) -> io::Result<()>;

    /// The same with its room only reserved: it reads as zeros, a write into it never lacks room, but
    /// the first write to each place changes metadata, which its sync has to write too. For large
    /// writes that is less work than zeros beforehand.
    ///
    /// # Errors
    /// As [`Disk::create`].
    fn reserve(&self, name: &str, size: u64) -> io::Result<()> {
        self.create(name, size)
    }

    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    ///
    /// # Errors
    /// When the file isn't there or can't be read.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes`; durable only after [`Disk::sync`].
    ///
    /// # Errors
    /// When the file isn't there or can't be written; some of the bytes may be in it then.
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file's bytes durable (fdatasync).
    ///
    /// # Errors
    /// When the disk can't; what was written since the last sync is then in an unknown state, and
    /// a second sync that succeeds says nothing about it.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// The file's size in bytes.
    ///
    /// # Errors
    /// When the file isn't there.
    fn size(&self, name: &str) -> io::Result<u64>;

    /// Renames a file, replacing what bears the new name. Durable when this returns.
    ///
    /// # Errors
    /// When it can't be done or made durable; which name holds is then unknown.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable when this returns.
    ///
    /// # Errors
    /// When the file isn't there or can't be removed.
    fn remove(&self, name: &str) -> io::Result<()>;
}
