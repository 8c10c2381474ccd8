//! The manifest of a model, and the folder a model is shipped in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu, ensure};

use crate::backbone::Backbone;
use crate::card::Variant;
use crate::input::InputSpec;
use crate::weights::digest;

/// What a model consists of. Its bytes as stored are what its digest, the model's digest, is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Of the edge.
    pub backbone: Backbone,
    /// How its extension is attached.
    pub variant: Variant,
    /// Number of classes.
    pub classes: usize,
    /// What edge and cloud take.
    pub input: InputSpec,
    /// Digests of the blobs.
    pub weights: BlobDigests,
    /// Of the cloud, where the model has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_backbone: Option<Backbone>,
    /// Classes that the extension answers for, ascending.
    pub hard_classes: Vec<u32>,
    /// On held-out data, never on test images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<ManifestEvaluation>,
}

/// Digests of the blobs of a model, each `sha256:` and 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlobDigests {
    /// Main block.
    pub main: String,
    /// Adaptive block.
    pub adaptive: String,
    /// Extension block.
    pub extension: String,
    /// The cloud's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<String>,
}

/// How good a model was on held-out images when it was made; accuracies in 0..=1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestEvaluation {
    /// Images evaluated.
    pub samples: usize,
    /// Of the edge by itself, nothing sent to the cloud.
    pub accuracy: f64,
    /// Of the main exit alone.
    pub main_accuracy: f64,
    /// Of the cloud's network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_accuracy: Option<f64>,
}

/// Why a model folder could not be used.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read or written.
    #[snafu(display("failed to use {}", path.display()))]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The manifest does not fit.
    #[snafu(display("failed to read the manifest: {reason}"))]
    Content {
        /// What does not fit.
        reason: String,
    },
    /// A blob is not what its name says.
    #[snafu(display("failed to use {}: its digest is {found}; fetch it again", path.display()))]
    Digest {
        /// The file.
        path: PathBuf,
        /// The digest of what it holds.
        found: String,
    },
}

/// Blobs of a model, checked against their digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelBlobs {
    /// Main block.
    pub main: Vec<u8>,
    /// Adaptive block.
    pub adaptive: Vec<u8>,
    /// Extension block.
    pub extension: Vec<u8>,
    /// The cloud's network.
    pub cloud: Option<Vec<u8>>,
}

impl ModelBlobs {
    /// The three of the edge.
    #[must_use]
    pub fn edge(&self) -> crate::EdgeBlobs<'_> {
        crate::EdgeBlobs {
            main: &self.main,
            adaptive: &self.adaptive,
            extension: &self.extension,
        }
    }

    /// Digests of all.
    #[must_use]
    pub fn digests(&self) -> BlobDigests {
        BlobDigests {
            main: digest(&self.main),
            adaptive: digest(&self.adaptive),
            extension: digest(&self.extension),
            cloud: self.cloud.as_deref().map(digest),
        }
    }
}

impl Manifest {
    /// Reads the bytes of a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, ModelError> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| ModelError::Content {
            reason: e.to_string(),
        })?;
        let weights = &manifest.weights;
        for name in [&weights.main, &weights.adaptive, &weights.extension]
            .into_iter()
            .chain(&weights.cloud)
        {
            ensure!(
                is_digest(name),
                ContentSnafu {
                    reason: format!("{name} is no digest like sha256:0123…")
                }
            );
        }
        Ok(manifest)
    }

    /// The bytes to store.
    pub fn bytes(&self) -> Result<Vec<u8>, ModelError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|e| ModelError::Content {
            reason: e.to_string(),
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Writes `manifest.json` and `blobs/sha256/<hex>` below `folder`; gives the model's digest.
    pub fn write(&self, folder: &Path, blobs: &ModelBlobs) -> Result<String, ModelError> {
        let store = folder.join("blobs").join("sha256");
        fs::create_dir_all(&store).context(ModelFileSnafu { path: &store })?;
        let bytes = self.bytes()?;
        let all = [&blobs.main, &blobs.adaptive, &blobs.extension]
            .into_iter()
            .chain(&blobs.cloud);
        for blob in all {
            let path = store.join(hex(&digest(blob)));
            fs::write(&path, blob).context(ModelFileSnafu { path })?;
        }
        let path = folder.join("manifest.json");
        fs::write(&path, &bytes).context(ModelFileSnafu { path })?;
        Ok(digest(&bytes))
    }

    /// Reads a folder that [`Manifest::write`] made; gives the manifest, its digest and the blobs.
    pub fn open(folder: &Path) -> Result<(Self, String, ModelBlobs), ModelError> {
        let path = folder.join("manifest.json");
        let bytes = fs::read(&path).context(ModelFileSnafu { path })?;
        let manifest = Self::parse(&bytes)?;
        let read = |name: &str| {
            let path = folder.join("blobs").join("sha256").join(hex(name));
            let blob = fs::read(&path).context(ModelFileSnafu { path: &path })?;
            let found = digest(&blob);
            ensure!(found == name, DigestSnafu { path, found });
            Ok(blob)
        };
        let weights = &manifest.weights;
        let blobs = ModelBlobs {
            main: read(&weights.main)?,
            adaptive: read(&weights.adaptive)?,
            extension: read(&weights.extension)?,
            cloud: weights.cloud.as_deref().map(read).transpose()?,
        };
        Ok((manifest, digest(&bytes), blobs))
    }
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

fn is_digest(name: &str) -> bool {
    name.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leaves_the_folder_is_no_digest() {
        assert!(is_digest(&digest(b"")));
        for name in [
            "sha256:../../etc/passwd",
            "",
            "sha256:",
            "md5:00",
            &digest(b"").to_uppercase(),
        ] {
            assert!(!is_digest(name), "{name}");
        }
    }
}
