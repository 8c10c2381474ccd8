//! Labelled images for retraining, by a path below `datasets/`.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use snafu::{ResultExt, Snafu, ensure};

use crate::place::Unfinished;

/// Why a data set cannot be used.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum DatasetError {
    /// The path leads elsewhere.
    #[snafu(display(
        "failed to use data set {name:?}: give a relative path below datasets/, without .. and links that lead out"
    ))]
    Path {
        /// The path.
        name: String,
    },
    /// Nothing is there.
    #[snafu(display("failed to find data set {name:?}: put it there with `meanet data put {name}`"))]
    Missing {
        /// The path.
        name: String,
    },
    /// More bytes than a data set may have.
    #[snafu(display("failed to take data set {name:?}: it has more than {max} bytes"))]
    TooLarge {
        /// The path.
        name: String,
        /// The bound.
        max: u64,
    },
    /// The file system, or the source of the bytes, refused.
    #[snafu(display("failed to use {}", path.display()))]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn below(root: &Path, name: &str) -> Result<PathBuf, DatasetError> {
    let plain = !name.is_empty()
        && !name.contains('\0')
        && Path::new(name)
            .components()
            .all(|c| matches!(c, Component::Normal(_)));
    ensure!(plain, PathSnafu { name });
    Ok(root.join("datasets").join(name))
}

/// Where the data set `name` of the store at `root` is: a file or a folder that is there.
pub fn resolve(root: &Path, name: &str) -> Result<PathBuf, DatasetError> {
    let path = below(root, name)?;
    let Ok(real) = path.canonicalize() else {
        return MissingSnafu { name }.fail();
    };
    let home = root.join("datasets");
    let home = home.canonicalize().context(IoSnafu { path: home })?;
    ensure!(real.starts_with(&home), PathSnafu { name });
    Ok(real)
}

/// Puts a file of at most `max` bytes in place, over an older one; gives its size.
pub fn put(root: &Path, name: &str, reader: impl Read, max: u64) -> Result<u64, DatasetError> {
    let path = below(root, name)?;
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder).context(IoSnafu { path: folder })?;
    let home = root
        .join("datasets")
        .canonicalize()
        .context(IoSnafu { path: root })?;
    ensure!(
        folder.canonicalize().is_ok_and(|real| real.starts_with(&home)),
        PathSnafu { name }
    );
    let mut file = Unfinished::create(folder).context(IoSnafu { path: folder })?;
    let size =
        io::copy(&mut reader.take(max.saturating_add(1)), &mut file).context(IoSnafu { path: &path })?;
    ensure!(size <= max, TooLargeSnafu { name, max });
    file.place(&path).context(IoSnafu { path })?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_data_set_is_put_and_found() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(
            resolve(root.path(), "a/b.bin"),
            Err(DatasetError::Missing { .. })
        ));
        assert_eq!(put(root.path(), "a/b.bin", &b"one"[..], 9).unwrap(), 3);
        assert_eq!(put(root.path(), "a/b.bin", &b"four"[..], 9).unwrap(), 4);
        assert_eq!(
            fs::read(resolve(root.path(), "a/b.bin").unwrap()).unwrap(),
            b"four"
        );
        assert!(matches!(
            put(root.path(), "a/b.bin", &b"too long"[..], 3),
            Err(DatasetError::TooLarge { .. })
        ));
        assert_eq!(
            fs::read(resolve(root.path(), "a/b.bin").unwrap()).unwrap(),
            b"four",
            "the older one stays"
        );
    }

    #[test]
    fn no_path_climbs_out() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("datasets")).unwrap();
        std::os::unix::fs::symlink("/etc", root.path().join("datasets/link")).unwrap();
        for name in [
            "",
            "..",
            "../x",
            "a/../../x",
            "/etc/passwd",
            ".",
            "link/passwd",
            "link",
            "a\0b",
        ] {
            assert!(resolve(root.path(), name).is_err(), "{name:?}");
            assert!(
                matches!(
                    put(root.path(), name, &b""[..], 1),
                    Err(DatasetError::Path { .. })
                ) || name == "link",
                "{name:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_is_resolved_is_below_the_root(name in "[./a-c\\\\]{0,12}") {
            let root = tempfile::tempdir().unwrap();
            if put(root.path(), &name, &b"x"[..], 1).is_ok() {
                let home = root.path().canonicalize().unwrap().join("datasets");
                prop_assert!(resolve(root.path(), &name).unwrap().starts_with(home));
            }
        }
    }
}
