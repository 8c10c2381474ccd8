//! Blobs by digest: `blobs/sha256/<64 hex>`. A blob is never changed, and is there whole or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use snafu::{ResultExt, Snafu, ensure};

use crate::digest::Digest;
use crate::place::{UNFINISHED, Unfinished};

/// Unfinished files older than this belong to nobody.
const LEFTOVER: Duration = Duration::from_hours(1);

/// Why a blob could not be kept or had.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum BlobError {
    /// The file system refused.
    #[snafu(display("failed to use {}", path.display()))]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The source of the bytes broke off.
    #[snafu(display("failed to read the bytes of blob {digest}"))]
    Source {
        /// The blob wanted.
        digest: Digest,
        /// What the source says.
        source: io::Error,
    },
    /// More bytes than a blob may have.
    #[snafu(display("failed to take blob {digest}: it has more than {max} bytes"))]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// The bound.
        max: u64,
    },
    /// The bytes are not those of the name.
    #[snafu(display(
        "failed to take blob {digest}: the bytes have the digest {found}; they were damaged on the way or on disk"
    ))]
    Mismatch {
        /// The name.
        digest: Digest,
        /// What the bytes hash to.
        found: Digest,
    },
    /// Not there.
    #[snafu(display("failed to find blob {digest}"))]
    Missing {
        /// The blob.
        digest: Digest,
    },
}

/// A folder of blobs.
#[derive(Clone, Debug)]
pub struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// The blobs below `root`, in `blobs/sha256`; the folder is made where it is missing.
    pub fn open(root: &Path) -> Result<Self, BlobError> {
        let folder = root.join("blobs").join("sha256");
        fs::create_dir_all(&folder).context(IoSnafu { path: &folder })?;
        Ok(Self { folder })
    }

    /// The blobs below `root`, which are only read; nothing is made.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self {
            folder: root.join("blobs").join("sha256"),
        }
    }

    /// Where a blob is, if it is there.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Whether the blob is there.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Takes the blob from `reader`, of `max` bytes at most. Gives its size; one that is there already is not read again.
    pub fn put(&self, digest: &Digest, reader: impl Read, max: u64) -> Result<u64, BlobError> {
        let target = self.path(digest);
        if let Ok(metadata) = fs::metadata(&target) {
            return Ok(metadata.len());
        }
        let mut file = Unfinished::create(&self.folder).context(IoSnafu { path: &self.folder })?;
        let (mut hasher, mut size) = (Sha256::new(), 0);
        let mut reader = reader.take(max.saturating_add(1));
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(BlobError::Source {
                        digest: *digest,
                        source,
                    });
                }
            };
            size += count as u64;
            ensure!(size <= max, TooLargeSnafu { digest: *digest, max });
            hasher.update(&buffer[..count]);
            file.write_all(&buffer[..count])
                .context(IoSnafu { path: &target })?;
        }
        let found = Digest::from_hasher(hasher);
        ensure!(
            found == *digest,
            MismatchSnafu {
                digest: *digest,
                found
            }
        );
        file.place(&target).context(IoSnafu { path: &target })?;
        Ok(size)
    }

    /// Takes bytes in memory; gives their digest.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, BlobError> {
        let digest = Digest::of(bytes);
        self.put(&digest, bytes, bytes.len() as u64)?;
        Ok(digest)
    }

    /// The blob's bytes, `max` at most, checked against its name.
    pub fn get(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        let (file, size) = self.reader(digest)?;
        ensure!(size <= max, TooLargeSnafu { digest: *digest, max });
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(max.saturating_add(1))
            .read_to_end(&mut bytes)
            .context(IoSnafu {
                path: self.path(digest),
            })?;
        let found = Digest::of(&bytes);
        ensure!(
            found == *digest,
            MismatchSnafu {
                digest: *digest,
                found
            }
        );
        Ok(bytes)
    }

    /// The blob's file, for streaming, and its size. Who receives the bytes checks them.
    pub fn reader(&self, digest: &Digest) -> Result<(File, u64), BlobError> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return MissingSnafu { digest: *digest }.fail();
            }
            Err(source) => return Err(BlobError::Io { path, source }),
        };
        let size = file.metadata().context(IoSnafu { path })?.len();
        Ok((file, size))
    }

    /// Forgets a blob, such as one that was found damaged; one that is not there is no error.
    pub fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(BlobError::Io { path, source }),
            _ => Ok(()),
        }
    }

    /// All blobs, by digest.
    pub fn list(&self) -> Result<BTreeSet<Digest>, BlobError> {
        let entries = fs::read_dir(&self.folder).context(IoSnafu { path: &self.folder })?;
        Ok(entries
            .filter_map(Result::ok)
            .filter_map(|entry| format!("sha256:{}", entry.file_name().to_str()?).parse().ok())
            .collect())
    }

    /// Removes all blobs but those in `keep`, and what interrupted writers left an hour ago. Gives the blobs removed.
    pub fn retain(&self, keep: &BTreeSet<Digest>) -> Result<Vec<Digest>, BlobError> {
        let entries = fs::read_dir(&self.folder).context(IoSnafu { path: &self.folder })?;
        for entry in entries.filter_map(Result::ok) {
            let old = || {
                SystemTime::now()
                    .duration_since(entry.metadata().ok()?.modified().ok()?)
                    .ok()
            };
            if entry
                .file_name()
                .to_str()
                .is_some_and(|n| n.starts_with(UNFINISHED))
                && old().is_some_and(|o| o > LEFTOVER)
            {
                // Another process may have been faster.
                let _ = fs::remove_file(entry.path());
            }
        }
        let superfluous: Vec<Digest> = self.list()?.difference(keep).copied().collect();
        for digest in &superfluous {
            self.remove(digest)?;
        }
        Ok(superfluous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: u64 = 1 << 20;

    #[test]
    fn a_blob_is_there_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(root.path()).unwrap();
        let digest = Digest::of(b"weights");
        assert!(matches!(blobs.get(&digest, MAX), Err(BlobError::Missing { .. })));
        assert!(matches!(
            blobs.put(&digest, &b"weight"[..], MAX),
            Err(BlobError::Mismatch { .. })
        ));
        assert!(matches!(
            blobs.put(&digest, &b"weights"[..], 6),
            Err(BlobError::TooLarge { .. })
        ));
        assert!(!blobs.contains(&digest));
        assert_eq!(
            fs::read_dir(root.path().join("blobs/sha256")).unwrap().count(),
            0,
            "no leftover"
        );
        assert_eq!(blobs.put(&digest, &b"weights"[..], 7).unwrap(), 7);
        assert_eq!(blobs.get(&digest, MAX).unwrap(), b"weights");
    }

    #[test]
    fn damage_on_disk_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(root.path()).unwrap();
        let digest = blobs.put_bytes(b"weights").unwrap();
        fs::write(blobs.path(&digest), b"weightz").unwrap();
        assert!(matches!(blobs.get(&digest, MAX), Err(BlobError::Mismatch { .. })));
        blobs.remove(&digest).unwrap();
        blobs.remove(&digest).unwrap();
        assert_eq!(blobs.put_bytes(b"weights").unwrap(), digest);
    }

    #[test]
    fn writers_of_one_blob_do_not_disturb_each_other() {
        let root = tempfile::tempdir().unwrap();
        let bytes = vec![7; 300_000];
        let digest = Digest::of(&bytes);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    Blobs::open(root.path())
                        .unwrap()
                        .put(&digest, &bytes[..], MAX)
                        .unwrap()
                });
            }
        });
        assert_eq!(Blobs::below(root.path()).get(&digest, MAX).unwrap(), bytes);
    }

    proptest! {
        #[test]
        fn what_is_kept_stays_and_the_rest_goes(
            contents in proptest::collection::btree_set(proptest::collection::vec(any::<u8>(), 0..40), 0..12),
            keep in proptest::collection::vec(any::<bool>(), 12),
        ) {
            let root = tempfile::tempdir().unwrap();
            let blobs = Blobs::open(root.path()).unwrap();
            let mut kept = BTreeSet::new();
            for (bytes, keep) in contents.iter().zip(keep) {
                let digest = blobs.put_bytes(bytes).unwrap();
                if keep {
                    kept.insert(digest);
                }
            }
            let removed = blobs.retain(&kept).unwrap();
            prop_assert_eq!(removed.len() + kept.len(), contents.len());
            prop_assert_eq!(blobs.list().unwrap(), kept);
        }
    }
}
