//! A stored evaluation: what all exits said of every image, in one safetensors file. Everything else is computed from it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use meanet_method::{Costs, EvaluateError, Outputs};
use meanet_net::{Cost, EdgeCost};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, ResultExt, Snafu, ensure};

const FILE: &str = "outputs.safetensors";
/// The one metadata entry.
const METADATA: &str = "meanet.evaluation";
/// Of the file's layout; raised with every change that older programs cannot read.
const VERSION: u32 = 1;
/// Largest file read: a million images of a thousand classes at three exits stay below.
const MAX_BYTES: u64 = 16 << 30;

/// What was evaluated, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Layout of the file.
    version: u32,
    /// Digest of the model.
    pub model: String,
    /// Network of the edge.
    pub backbone: String,
    /// Network of the cloud.
    pub cloud_backbone: Option<String>,
    /// Digest of the cloud's blob, where it is another one than the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<String>,
    /// Data set, in words.
    pub data: String,
    /// Where the images come from that thresholds, router and temperatures are fitted on.
    pub selection: String,
    /// Classes of the outputs of the extension.
    pub extension_classes: Vec<u32>,
    /// Classes for which it is asked.
    pub hard_classes: Vec<u32>,
    /// Parameters and multiply-accumulates of the edge's blocks.
    pub edge_cost: EdgeCost,
    /// Those of the cloud.
    pub cloud_cost: Option<Cost>,
    /// Bytes of pixels of one image.
    pub image_bytes: u64,
}

/// Outputs for two sets of images that share none.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// What was evaluated.
    pub config: Config,
    /// To fit and choose by.
    pub selection: Outputs,
    /// To report on: nothing was trained, chosen or tuned by these.
    pub report: Outputs,
}

/// Why a stored evaluation could not be written or read.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum StoredError {
    /// The file could not be read or written.
    #[snafu(display("failed to use {}; make it with `meanet eval --out`", path.display()))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is larger than any evaluation.
    #[snafu(display("failed to read {}: it has {bytes} bytes, more than {MAX_BYTES}", path.display()))]
    Long {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The content does not fit.
    #[snafu(display("failed to read a stored evaluation: {reason}; run `meanet eval` again"))]
    Content {
        /// What does not fit.
        reason: String,
    },
    /// The outputs do not fit together.
    #[snafu(display("{source}"))]
    Outputs {
        /// Why.
        source: EvaluateError,
    },
}

impl Config {
    /// Of a model and data; the layout is the present one.
    #[must_use]
    pub fn new(
        model: String,
        backbone: String,
        data: String,
        selection: String,
        edge_cost: EdgeCost,
    ) -> Self {
        Self {
            version: VERSION,
            model,
            backbone,
            cloud_backbone: None,
            cloud: None,
            data,
            selection,
            extension_classes: Vec::new(),
            hard_classes: Vec::new(),
            edge_cost,
            cloud_cost: None,
            image_bytes: 0,
        }
    }

    /// What one image costs, part by part.
    #[must_use]
    pub fn costs(&self) -> Costs {
        Costs {
            main_macs: self.edge_cost.main.macs as u64,
            extension_macs: (self.edge_cost.adaptive.macs + self.edge_cost.extension.macs) as u64,
            cloud_macs: self.cloud_cost.map_or(0, |cost| cost.macs as u64),
            image_bytes: self.image_bytes,
        }
    }
}

impl Stored {
    /// Writes the file into `folder`, whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<(), StoredError> {
        fs::create_dir_all(folder).context(FileSnafu { path: folder })?;
        let (path, temporary) = (folder.join(FILE), folder.join(format!("{FILE}.tmp")));
        fs::write(&temporary, self.bytes()?).context(FileSnafu { path: &temporary })?;
        fs::rename(&temporary, &path).context(FileSnafu { path })
    }

    /// Reads what [`Stored::write`] wrote into `folder`, and checks that it fits together.
    pub fn open(folder: &Path) -> Result<Self, StoredError> {
        let path = folder.join(FILE);
        let bytes = fs::metadata(&path).context(FileSnafu { path: &path })?.len();
        ensure!(bytes <= MAX_BYTES, LongSnafu { path, bytes });
        Self::parse(&fs::read(&path).context(FileSnafu { path })?)
    }

    fn bytes(&self) -> Result<Vec<u8>, StoredError> {
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for (split, outputs) in [("selection", &self.selection), ("report", &self.report)] {
            let labels = outputs
                .labels
                .iter()
                .flat_map(|label| label.to_le_bytes())
                .collect();
            tensors.push((format!("{split}.labels"), Dtype::U32, vec![outputs.len()], labels));
            for (name, rows) in [
                ("main", &outputs.main),
                ("extension", &outputs.extension),
                ("cloud", &outputs.cloud),
            ] {
                let shape = vec![rows.len(), rows.first().map_or(0, Vec::len)];
                let bytes = rows
                    .iter()
                    .flatten()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                tensors.push((format!("{split}.{name}"), Dtype::F32, shape, bytes));
            }
        }
        let content = |reason: String| StoredError::Content { reason };
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| content(e.to_string()))?;
        let config = serde_json::to_string(&self.config).map_err(|e| content(e.to_string()))?;
        safetensors::serialize(views, Some(HashMap::from([(METADATA.to_owned(), config)])))
            .map_err(|e| content(e.to_string()))
    }

    fn parse(bytes: &[u8]) -> Result<Self, StoredError> {
        let content = |reason: String| StoredError::Content { reason };
        let file = SafeTensors::deserialize(bytes).map_err(|e| content(e.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| content(e.to_string()))?;
        let text = metadata
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(METADATA));
        let text = text.context(ContentSnafu {
            reason: "the file is no evaluation",
        })?;
        let version = serde_json::from_str::<serde_json::Value>(text)
            .ok()
            .and_then(|v| v.get("version")?.as_u64());
        ensure!(
            version == Some(u64::from(VERSION)),
            ContentSnafu {
                reason: format!("its layout is {version:?}, this program reads {VERSION}")
            }
        );
        let config: Config = serde_json::from_str(text).map_err(|e| content(e.to_string()))?;
        let split = |name: &str| {
            let rows = |part: &str| rows(&file, &format!("{name}.{part}"));
            let outputs = Outputs {
                labels: labels(&file, &format!("{name}.labels"))?,
                main: rows("main")?,
                extension: rows("extension")?,
                cloud: rows("cloud")?,
                extension_classes: config.extension_classes.clone(),
                hard_classes: config.hard_classes.clone(),
            };
            outputs.check().context(OutputsSnafu)?;
            Ok(outputs)
        };
        Ok(Self {
            selection: split("selection")?,
            report: split("report")?,
            config,
        })
    }
}

fn tensor<'a>(file: &SafeTensors<'a>, name: &str, dtype: Dtype) -> Result<TensorView<'a>, StoredError> {
    let view = file.tensor(name).map_err(|_| StoredError::Content {
        reason: format!("{name} is missing"),
    })?;
    ensure!(
        view.dtype() == dtype,
        ContentSnafu {
            reason: format!("{name} is {:?} instead of {dtype:?}", view.dtype())
        }
    );
    Ok(view)
}

fn labels(file: &SafeTensors<'_>, name: &str) -> Result<Vec<u32>, StoredError> {
    let view = tensor(file, name, Dtype::U32)?;
    Ok(view
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| u32::from_le_bytes(*bytes))
        .collect())
}

/// A tensor of two dimensions as rows.
fn rows(file: &SafeTensors<'_>, name: &str) -> Result<Vec<Vec<f32>>, StoredError> {
    let view = tensor(file, name, Dtype::F32)?;
    let &[_, columns] = view.shape() else {
        return ContentSnafu {
            reason: format!(
                "{name} has the shape {:?} instead of two dimensions",
                view.shape()
            ),
        }
        .fail();
    };
    let values: Vec<f32> = view
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    Ok(values.chunks_exact(columns.max(1)).map(<[f32]>::to_vec).collect())
}

#[cfg(test)]
pub(super) mod tests;
