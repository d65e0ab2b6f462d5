//! The real disk: a directory of the file system.

use crate::Disk;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Files kept open; a log that is read from its beginning has many more than are in use.
const OPEN_FILES_MAX: usize = 32;
/// A new file is written and synced in steps of this size, so that preparing a segment never puts
/// more than one step in front of a commit's own sync in the disk's queue.
const CREATE_STEP_BYTES: usize = 1 << 20;

/// A [`Disk`] in a directory of the file system.
#[derive(Clone, Debug)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Most recently used first: the active segment stays open from its write to its sync.
    open: Mutex<Vec<(String, Arc<File>)>>,
}

impl Directory {
    /// Opens a directory and creates it where it is missing.
    ///
    /// # Errors
    /// When it can't be created or is not a directory.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        fs::create_dir_all(path)?;
        if let Some(parent) = path.canonicalize()?.parent() {
            File::open(parent)?.sync_all()?;
        }
        let inner = Inner {
            path: path.to_owned(),
            open: Mutex::new(Vec::new()),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    fn open_files(&self) -> MutexGuard<'_, Vec<(String, Arc<File>)>> {
        self.inner
            .open
            .lock()
            .expect("nothing panics while it holds the list of open files")
    }

    fn file(&self, name: &str) -> io::Result<Arc<File>> {
        let mut open = self.open_files();
        if let Some(index) = open.iter().position(|(held, _)| held == name) {
            open[..=index].rotate_right(1);
            return Ok(open[0].1.clone());
        }
        let path = self.inner.path.join(name);
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(path)?);
        open.insert(0, (name.to_owned(), file.clone()));
        open.truncate(OPEN_FILES_MAX);
        Ok(file)
    }

    fn forget(&self, name: &str) {
        self.open_files().retain(|(held, _)| held != name);
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.inner.path)?.sync_all()
    }

    /// A new file that `fill` gives its size and syncs.
    fn make(&self, name: &str, fill: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        let path = &self.inner.path.join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let filled = fill(&file).and_then(|()| self.sync_names());
        if filled.is_err() {
            // The first error is the one to tell; a file that stays all the same is replaced later.
            let _ = fs::remove_file(path);
        }
        filled
    }
}

/// Where the file system can't reserve, zeros are written.
fn reserve(file: &File, size: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => file.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => write_zeros(file, size),
        Err(error) => Err(error.into()),
    }
}

fn write_zeros(file: &File, size: u64) -> io::Result<()> {
    let zeros = vec![0; CREATE_STEP_BYTES];
    let mut offset = 0;
    while offset < size {
        let step = (size - offset).min(CREATE_STEP_BYTES as u64);
        let length = usize::try_from(step).unwrap_or(CREATE_STEP_BYTES);
        file.write_all_at(&zeros[..length], offset)?;
        file.sync_data()?;
        offset += step;
    }
    file.sync_all()
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        self.sync_names()?;
        let mut names = Vec::new();
        for item in fs::read_dir(&self.inner.path)? {
            let item = item?;
            if item.file_type()?.is_file() {
                names.extend(item.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, size: u64) -> io::Result<()> {
        self.make(name, |file| write_zeros(file, size))
    }

    fn reserve(&self, name: &str, size: u64) -> io::Result<()> {
        self.make(name, |file| reserve(file, size))
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.file(name)?;
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all_at(bytes, offset)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.file(name)?.metadata()?.len())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.forget(from);
        self.forget(to);
        fs::rename(self.inner.path.join(from), self.inner.path.join(to))?;
        self.sync_names()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.forget(name);
        fs::remove_file(self.inner.path.join(name))?;
        self.sync_names()
    }
}
