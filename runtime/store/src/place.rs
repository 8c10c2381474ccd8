//! Putting a whole file in place, or nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Prefix of the names of unfinished files.
pub(crate) const UNFINISHED: &str = ".tmp-";

/// A file under a temporary name; gone again unless it is put in place.
pub(crate) struct Unfinished {
    path: PathBuf,
    file: File,
    placed: bool,
}

/// A name that no other process has: `create_new` decides between two that had the same idea.
pub(crate) fn create_unique(
    folder: &Path,
    name: impl Fn(u128, u64) -> String,
) -> io::Result<(PathBuf, File)> {
    loop {
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos());
        let path = folder.join(name(nanos, COUNTER.fetch_add(1, Ordering::Relaxed)));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

impl Unfinished {
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        let (path, file) = create_unique(folder, |nanos, count| format!("{UNFINISHED}{nanos:x}-{count:x}"))?;
        Ok(Self {
            path,
            file,
            placed: false,
        })
    }

    /// Syncs the file, gives it its name, and syncs the folder, so that a crash leaves the old state or the new one.
    pub(crate) fn place(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        self.placed = true;
        if let Some(folder) = target.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.placed {
            // What cannot be removed now is removed as a leftover later.
            let _ = fs::remove_file(&self.path);
        }
    }
}
