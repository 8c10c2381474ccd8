//! The folder of a training run: its recipe, its metrics, its checkpoint.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use meanet_engine::EngineError;
use serde::{Serialize, de::DeserializeOwned};
use snafu::{ResultExt, Snafu};

use crate::weights::WeightsError;

/// The file with what a run was told to do.
pub(crate) const RECIPE: &str = "recipe.json";

/// Why a training run stopped.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum TrainError {
    /// A file of the run could not be read or written.
    #[snafu(display("failed to use {}", path.display()))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of the run does not hold what it should.
    #[snafu(display("failed to read {}: {reason}", path.display()))]
    Content {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The run's folder belongs to a run with another recipe.
    #[snafu(display("failed to resume in {}: it holds a run with other settings; give another folder", path.display()))]
    OtherRecipe {
        /// The folder.
        path: PathBuf,
    },
    /// Weights could not be read, written or used.
    #[snafu(display("failed to use weights"))]
    Weights {
        /// Why.
        source: WeightsError,
    },
    /// The engine could not train the network.
    #[snafu(display("failed to train by the engine"))]
    Engine {
        /// Why.
        source: EngineError,
    },
    /// There is too little to train on.
    #[snafu(display("failed to train: {reason}"))]
    Data {
        /// What is missing, and what to do.
        reason: String,
    },
    /// The loss is no number any more.
    #[snafu(display(
        "failed to train: the loss became {loss} in epoch {epoch}; try a lower learning rate than {rate}"
    ))]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// The loss.
        loss: f64,
        /// The peak learning rate.
        rate: f64,
    },
}

/// Whether two recipes say the same, in whatever order.
fn same(old: &str, new: &str) -> bool {
    let read = serde_json::from_str::<serde_json::Value>;
    read(old)
        .ok()
        .zip(read(new).ok())
        .is_some_and(|(old, new)| old == new)
}

/// An open run folder.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    watcher: Option<fn(&Path)>,
}

impl Run {
    /// Opens or makes the folder. A folder of a run with the same recipe is resumed; with another one it is an error.
    pub fn open<R: Serialize>(folder: &Path, recipe: &R) -> Result<Self, TrainError> {
        fs::create_dir_all(folder).context(FileSnafu { path: folder })?;
        let run = Self {
            folder: folder.to_owned(),
            watcher: None,
        };
        let path = run.path(RECIPE);
        let text = serde_json::to_string_pretty(recipe).map_err(|e| TrainError::Content {
            path: path.clone(),
            reason: e.to_string(),
        })?;
        match fs::read_to_string(&path) {
            Ok(old) if same(&old, &text) => {}
            Ok(_) => return OtherRecipeSnafu { path: folder }.fail(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => run.replace(RECIPE, text.as_bytes())?,
            Err(source) => return Err(TrainError::File { path, source }),
        }
        Ok(run)
    }

    /// A folder to read only.
    pub(crate) fn look(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            watcher: None,
        }
    }

    /// `watcher` is to be called with the folder after each epoch.
    #[must_use]
    pub fn watched(mut self, watcher: fn(&Path)) -> Self {
        self.watcher = Some(watcher);
        self
    }

    /// Tells the watcher.
    pub(crate) fn epoch_done(&self) {
        if let Some(watcher) = self.watcher {
            watcher(&self.folder);
        }
    }

    /// A file of the run.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file whole, or leaves the old one.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let (path, temporary) = (self.path(name), self.path(&format!("{name}.tmp")));
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().context(FileSnafu { path: path.clone() })
    }

    /// Adds one line of JSON.
    pub(crate) fn log<T: Serialize>(&self, name: &str, line: &T) -> Result<(), TrainError> {
        let path = self.path(name);
        let text = serde_json::to_string(line).map_err(|e| TrainError::Content {
            path: path.clone(),
            reason: e.to_string(),
        })?;
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| writeln!(file, "{text}"))
            .context(FileSnafu { path })
    }

    /// Cuts a file of lines after the first `count`.
    pub(crate) fn keep_lines(&self, name: &str, count: usize) -> Result<(), TrainError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) if text.lines().count() > count => {
                let kept: String = text.split_inclusive('\n').take(count).collect();
                self.replace(name, kept.as_bytes())
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(TrainError::File { path, source }),
        }
    }

    /// Reads a JSON file of the run, if it is there.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, TrainError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| TrainError::Content {
                    path,
                    reason: e.to_string(),
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TrainError::File { path, source }),
        }
    }
}
