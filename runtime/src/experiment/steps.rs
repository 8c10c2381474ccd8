//! Steps of an experiment: each result is kept under a hash of all that it depends on, so that a run that was interrupted goes
//! on, and nothing is computed twice.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use meanet_net::digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::info;

/// Raised when a step computes something else for the same inputs.
const VERSION: u32 = 1;

/// A folder of results, and how much time is left for new ones.
pub(super) struct Steps {
    folder: PathBuf,
    began: Instant,
    /// New steps are begun only before this much time has passed.
    limit: Option<Duration>,
    /// Of the steps that are planned, in a unit of the caller's.
    planned: f64,
    /// Of those, found or done.
    passed: f64,
    /// Of those, computed in this run.
    computed: f64,
    /// What was left out for want of time.
    missing: Vec<String>,
}

/// A kept result.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    inputs: Value,
    value: T,
}

impl Steps {
    pub(super) fn open(folder: &Path, limit: Option<Duration>, planned: f64) -> Result<Self, Box<dyn Error>> {
        fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
        Ok(Self {
            folder: folder.to_owned(),
            began: Instant::now(),
            limit,
            planned,
            passed: 0.0,
            computed: 0.0,
            missing: Vec::new(),
        })
    }

    /// A place for the files of a step; the same inputs have the same place.
    pub(super) fn place(&self, kind: &str, inputs: &impl Serialize) -> Result<PathBuf, Box<dyn Error>> {
        let text = serde_json::to_string(&(VERSION, kind, inputs))?;
        let name = digest(text.as_bytes()).replace("sha256:", "");
        Ok(self.folder.join(format!("{kind}-{}", &name[..16])))
    }

    /// The result of a step; `compute` is asked where it is not kept yet. Absent where there
    /// is no time left to begin. `name` says what it is, `work` how much of what is planned.
    pub(super) fn step<T: Serialize + DeserializeOwned>(
        &mut self,
        kind: &str,
        name: &str,
        work: f64,
        inputs: &impl Serialize,
        compute: impl FnOnce() -> Result<T, Box<dyn Error>>,
    ) -> Result<Option<T>, Box<dyn Error>> {
        let path = self.place(kind, inputs)?.with_extension("json");
        self.passed += work;
        match fs::read(&path) {
            Ok(bytes) => {
                let kept: Kept<T> = serde_json::from_slice(&bytes).map_err(|e| failed(&path, &e))?;
                return Ok(Some(kept.value));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path, &error).into()),
        }
        if self.limit.is_some_and(|limit| self.began.elapsed() >= limit) {
            self.missing.push(name.to_owned());
            return Ok(None);
        }
        info!("{name}");
        let kept = Kept {
            inputs: serde_json::to_value(inputs)?,
            value: compute()?,
        };
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, serde_json::to_vec(&kept)?).map_err(|e| failed(&temporary, &e))?;
        fs::rename(&temporary, &path).map_err(|e| failed(&path, &e))?;
        self.computed += work;
        let each = self.began.elapsed().as_secs_f64() / self.computed.max(1e-9);
        info!(
            done = format!("{:.0} %", 100.0 * self.passed / self.planned.max(self.passed)),
            minutes_left = format!("{:.1}", each * (self.planned - self.passed).max(0.0) / 60.0),
            "{name}: done"
        );
        Ok(Some(kept.value))
    }

    /// What was left out for want of time.
    pub(super) fn missing(self) -> Vec<String> {
        self.missing
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("failed to use {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_computed_once_for_the_same_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let mut computed = 0;
        for (seed, expected) in [(1, 1), (1, 1), (2, 2), (1, 2)] {
            let mut steps = Steps::open(folder.path(), None, 1.0).unwrap();
            let step = steps.step("square", "a square", 1.0, &("x", seed), || {
                computed += 1;
                Ok(seed * seed)
            });
            assert_eq!(step.unwrap().unwrap(), seed * seed);
            assert_eq!(computed, expected, "seed {seed}");
        }
    }

    #[test]
    fn without_time_what_is_kept_is_found_and_the_rest_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut steps = Steps::open(folder.path(), None, 2.0).unwrap();
        steps.step("a", "first", 1.0, &1, || Ok(1)).unwrap();
        let mut steps = Steps::open(folder.path(), Some(Duration::ZERO), 2.0).unwrap();
        assert_eq!(steps.step("a", "first", 1.0, &1, || Ok(2)).unwrap().unwrap(), 1);
        assert!(steps.step("a", "second", 1.0, &2, || Ok(2)).unwrap().is_none());
        assert_eq!(steps.missing(), ["second"]);
    }

    #[test]
    fn a_step_that_fails_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut steps = Steps::open(folder.path(), None, 1.0).unwrap();
        assert!(
            steps
                .step::<u32>("a", "fails", 1.0, &1, || Err("no".into()))
                .is_err()
        );
        assert_eq!(steps.step("a", "works", 1.0, &1, || Ok(7)).unwrap().unwrap(), 7);
    }
}
