//! The official CIFAR-100 binary layout: coarse label, fine label, 3,072 bytes of red, green and blue planes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use crate::images::{Images, Test, Training};

const SIDE: usize = 32;
const PIXELS: usize = 3 * SIDE * SIDE;
const RECORD: usize = 2 + PIXELS;
const CLASSES: u8 = 100;
/// The largest file of the data set has 50,000 records; nothing larger is read into memory.
const MAX_RECORDS: u64 = 1_000_000;

/// Why CIFAR records could not be read.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum ReadCifarError {
    /// The archive or file could not be opened or read.
    #[snafu(display("failed to read {}", path.display()))]
    Read {
        /// Archive, folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The archive has no such file.
    #[snafu(display(
        "failed to find {member} in {}: give the official cifar-100-binary.tar.gz, or its unpacked folder", path.display()
    ))]
    Member {
        /// Archive or folder.
        path: PathBuf,
        /// File looked for.
        member: &'static str,
    },
    /// The bytes are no CIFAR-100 records.
    #[snafu(display("failed to read CIFAR-100 records: {reason}"))]
    Records {
        /// What does not fit.
        reason: String,
    },
}

/// The training images of the archive (`.tar.gz`) or unpacked folder at `path`. Opens `train.bin` and nothing else.
pub fn train(path: &Path) -> Result<Training, ReadCifarError> {
    member(path, "train.bin").map(Training)
}

/// The test images of the archive (`.tar.gz`) or unpacked folder at `path`. Opens `test.bin` and nothing else.
pub fn test(path: &Path) -> Result<Test, ReadCifarError> {
    member(path, "test.bin").map(Test)
}

fn member(path: &Path, name: &'static str) -> Result<Images, ReadCifarError> {
    if path.is_dir() {
        let file = [path.join(name), path.join("cifar-100-binary").join(name)]
            .into_iter()
            .find(|p| p.is_file())
            .context(MemberSnafu { path, member: name })?;
        return read_records(File::open(&file).context(ReadSnafu { path: file.clone() })?);
    }
    let file = File::open(path).context(ReadSnafu { path })?;
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    for entry in archive.entries().context(ReadSnafu { path })? {
        let entry = entry.context(ReadSnafu { path })?;
        if entry
            .path()
            .context(ReadSnafu { path })?
            .file_name()
            .is_some_and(|f| f == name)
        {
            return read_records(entry);
        }
    }
    MemberSnafu { path, member: name }.fail()
}

/// Reads records until the end of `reader`; the fine label is the class.
pub fn read_records(reader: impl Read) -> Result<Images, ReadCifarError> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_RECORDS * RECORD as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| ReadCifarError::Records {
            reason: e.to_string(),
        })?;
    ensure!(
        bytes.len() as u64 <= MAX_RECORDS * RECORD as u64,
        RecordsSnafu {
            reason: format!("more than {MAX_RECORDS} records")
        }
    );
    ensure!(
        bytes.len().is_multiple_of(RECORD),
        RecordsSnafu {
            reason: format!(
                "{} bytes are no whole number of records of {RECORD} bytes: the file is cut off, or no CIFAR-100",
                bytes.len()
            )
        }
    );
    let mut images = Images::empty(SIDE, SIDE);
    images.pixels.reserve(bytes.len() / RECORD * PIXELS);
    for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
        ensure!(
            record[1] < CLASSES,
            RecordsSnafu {
                reason: format!(
                    "record {index} has the fine label {}, not one of 0..{CLASSES}",
                    record[1]
                )
            }
        );
        images.push(&record[2..], u32::from(record[1]));
    }
    Ok(images)
}

/// Writes 32×32 images as records; the coarse label, which nothing here uses, is 0.
///
/// # Errors
/// What the writer says; `InvalidInput` for another image size or a class above 99.
pub fn write_records(images: &Images, mut writer: impl Write) -> io::Result<()> {
    if (images.height, images.width) != (SIDE, SIDE) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "CIFAR records hold images of 32×32 pixels only",
        ));
    }
    for (index, &label) in images.labels.iter().enumerate() {
        let label = u8::try_from(label).ok().filter(|&l| l < CLASSES).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("image {index} has class {label}; CIFAR records hold 0..100"),
            )
        })?;
        writer.write_all(&[0, label])?;
        writer.write_all(images.image(index))?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(n: u32) -> Images {
        let mut images = Images::empty(SIDE, SIDE);
        for label in 0..n {
            images.push(&vec![label as u8; PIXELS], label);
        }
        images
    }

    #[test]
    fn records_survive_writing_and_reading() {
        let mut bytes = Vec::new();
        write_records(&sample(5), &mut bytes).unwrap();
        assert_eq!(read_records(bytes.as_slice()).unwrap(), sample(5));
    }

    #[test]
    fn a_cut_file_is_refused() {
        let error = read_records([0_u8; RECORD + 1].as_slice())
            .unwrap_err()
            .to_string();
        assert!(error.contains("cut off"), "{error}");
    }

    #[test]
    fn training_never_opens_the_test_file() {
        let folder = tempfile::tempdir().unwrap();
        write_records(&sample(2), File::create(folder.path().join("train.bin")).unwrap()).unwrap();
        assert_eq!(train(folder.path()).unwrap().0.len(), 2);
        assert!(test(folder.path()).is_err(), "there is no test.bin to open");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..8192)) {
            let _ = read_records(bytes.as_slice());
        }
    }
}
