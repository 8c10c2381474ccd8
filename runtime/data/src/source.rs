//! Where labelled images come from.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu, ensure};

use crate::cifar::{self, ReadCifarError};
use crate::decode::{DecodeError, decode};
use crate::images::{Images, Test, Training};
use crate::procedural::procedural;

/// How a gzip file begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const PROCEDURAL_CLASSES: usize = 100;
const PROCEDURAL_TRAINING: usize = 20_000;
const PROCEDURAL_TEST: usize = 2_000;

/// A data set, not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The official binary archive of CIFAR-100, or its unpacked folder.
    Cifar100(PathBuf),
    /// One file of CIFAR-100 records. It has no test images: all of it may be trained on.
    Records(PathBuf),
    /// A folder with a folder for each class, or with `train` and `test` folders of such.
    Folder(PathBuf),
    /// Drawn by this project, where there is no data.
    Procedural,
}

/// Why a data set could not be read.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum ReadSourceError {
    /// There is nothing at the path.
    #[snafu(display("failed to find a data set at {}: give cifar-100-binary.tar.gz, a .bin file of its records, or a folder of images with a folder for each class", path.display()))]
    Nothing {
        /// The path.
        path: PathBuf,
    },
    /// CIFAR records could not be read.
    #[snafu(display("{source}"))]
    Cifar {
        /// Why.
        source: ReadCifarError,
    },
    /// A folder or file could not be read.
    #[snafu(display("failed to read {}", path.display()))]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is no image.
    #[snafu(display("failed to use {}: {source}", path.display()))]
    Image {
        /// Which.
        path: PathBuf,
        /// Why.
        source: DecodeError,
    },
    /// The data set has no test images.
    #[snafu(display("failed to find test images in {}: put them into a folder named test beside train", path.display()))]
    NoTest {
        /// The data set.
        path: PathBuf,
    },
    /// The folder has no class folders.
    #[snafu(display("failed to find classes in {}: it needs a folder for each class, with PNG or JPEG files in it", path.display()))]
    NoClasses {
        /// The folder.
        path: PathBuf,
    },
}

impl Source {
    /// The data set at `path`; with no path the project's own.
    pub fn find(path: Option<&Path>) -> Result<Self, ReadSourceError> {
        let Some(path) = path else {
            return Ok(Self::Procedural);
        };
        let own = path.to_owned();
        if path.is_dir() {
            let cifar = ["train.bin", "test.bin", "cifar-100-binary"]
                .iter()
                .any(|name| path.join(name).exists());
            return Ok(if cifar {
                Self::Cifar100(own)
            } else {
                Self::Folder(own)
            });
        }
        ensure!(path.is_file(), NothingSnafu { path });
        // By what is in it: a data set in a store has the name that its owner gave it.
        let mut start = [0; 2];
        let read = fs::File::open(path)
            .and_then(|mut file| file.read(&mut start))
            .context(FileSnafu { path })?;
        Ok(if start[..read] == GZIP {
            Self::Cifar100(own)
        } else {
            Self::Records(own)
        })
    }

    /// One line about it, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Cifar100(path) => format!("CIFAR-100 from {}", path.display()),
            Self::Records(path) => format!("CIFAR records from {}", path.display()),
            Self::Folder(path) => format!("images from {}", path.display()),
            Self::Procedural => {
                "images drawn by this project, because no data set was given (MEANET_DATA)".to_owned()
            }
        }
    }

    /// The images to train on, scaled to `height`×`width` where they have other sizes. Opens no file of test images.
    pub fn training(&self, height: usize, width: usize) -> Result<Training, ReadSourceError> {
        match self {
            Self::Cifar100(path) => cifar::train(path).context(CifarSnafu),
            Self::Records(path) => records(path).map(Training),
            Self::Folder(path) => {
                let train = path.join("train");
                folder(if train.is_dir() { &train } else { path }, height, width).map(Training)
            }
            Self::Procedural => Ok(Training(procedural(PROCEDURAL_CLASSES, PROCEDURAL_TRAINING, 1))),
        }
    }

    /// The images that only reports may use.
    pub fn test(&self, height: usize, width: usize) -> Result<Test, ReadSourceError> {
        match self {
            Self::Cifar100(path) => cifar::test(path).context(CifarSnafu),
            Self::Records(path) => NoTestSnafu { path }.fail(),
            Self::Folder(path) => {
                let test = path.join("test");
                ensure!(test.is_dir(), NoTestSnafu { path });
                folder(&test, height, width).map(Test)
            }
            Self::Procedural => Ok(Test(procedural(PROCEDURAL_CLASSES, PROCEDURAL_TEST, 2))),
        }
    }
}

fn records(path: &Path) -> Result<Images, ReadSourceError> {
    let file = fs::File::open(path).context(FileSnafu { path })?;
    cifar::read_records(io::BufReader::new(file)).context(CifarSnafu)
}

/// Class folders in the order of their names are classes 0, 1, ….
fn folder(path: &Path, height: usize, width: usize) -> Result<Images, ReadSourceError> {
    let classes: Vec<PathBuf> = entries(path)?.into_iter().filter(|p| p.is_dir()).collect();
    ensure!(!classes.is_empty(), NoClassesSnafu { path });
    let mut images = Images::empty(height, width);
    for (label, class) in classes.iter().enumerate() {
        for file in entries(class)?.into_iter().filter(|p| is_image(p)) {
            let bytes = fs::read(&file).context(FileSnafu { path: &file })?;
            let pixels = decode(&bytes, height, width).context(ImageSnafu { path: &file })?;
            images.push(&pixels, label as u32);
        }
    }
    ensure!(!images.is_empty(), NoClassesSnafu { path });
    Ok(images)
}

fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|e| {
        ["png", "jpg", "jpeg"]
            .iter()
            .any(|known| e.eq_ignore_ascii_case(known))
    })
}

/// In the order of their names, so that class numbers do not depend on the file system.
fn entries(path: &Path) -> Result<Vec<PathBuf>, ReadSourceError> {
    let mut paths = fs::read_dir(path)
        .and_then(|entries| {
            entries
                .map(|e| e.map(|e| e.path()))
                .collect::<io::Result<Vec<_>>>()
        })
        .context(FileSnafu { path })?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::encode_png;

    #[test]
    fn folders_are_classes_in_the_order_of_their_names() {
        let root = tempfile::tempdir().unwrap();
        for (class, shade) in [("bird", 10), ("apple", 200)] {
            let class = root.path().join("train").join(class);
            fs::create_dir_all(&class).unwrap();
            fs::write(class.join("a.png"), encode_png(&[shade; 3 * 64], 8, 8).unwrap()).unwrap();
            fs::write(class.join("notes.txt"), "no image").unwrap();
        }
        let source = Source::find(Some(root.path())).unwrap();
        let Training(images) = source.training(4, 4).unwrap();
        assert_eq!(images.labels, [0, 1]);
        assert_eq!((images.image(0)[0], images.image(1)[0]), (200, 10));
        assert!(
            source
                .test(4, 4)
                .unwrap_err()
                .to_string()
                .contains("folder named test")
        );
    }

    #[test]
    fn a_file_is_known_by_what_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("night");
        let night = procedural(2, 3, 0);
        cifar::write_records(&night, fs::File::create(&path).unwrap()).unwrap();
        let source = Source::find(Some(&path)).unwrap();
        assert_eq!(source.training(32, 32).unwrap().0, night);
        fs::write(&path, [&GZIP[..], b"rest"].concat()).unwrap();
        let source = Source::find(Some(&path)).unwrap();
        assert!(source.describe().contains("CIFAR-100"), "{source:?}");
    }

    #[test]
    fn no_path_means_images_of_our_own_and_says_so() {
        let source = Source::find(None).unwrap();
        assert!(source.describe().contains("MEANET_DATA"));
        assert_eq!(source.test(32, 32).unwrap().0.len(), PROCEDURAL_TEST);
    }

    #[test]
    fn a_path_to_nothing_names_what_would_do() {
        let error = Source::find(Some(Path::new("/nowhere/at/all")))
            .unwrap_err()
            .to_string();
        assert!(error.contains("cifar-100-binary.tar.gz"), "{error}");
    }
}
