//! What is evaluated: the edge of a model folder, with its own cloud or any other network in its place.

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use meanet_data::Images;
use meanet_method::{ExtensionRule, Outputs};
use meanet_net::evaluate::{by_entropy, outputs_with};
use meanet_net::{
    Backbone, Block, CloudNetwork, Compute, EdgeNetwork, InputSpec, Manifest, ModelBlobs, Precision,
    StateDict, WeightsError, digest, read_card,
};

use super::Progress;
use super::stored::{Config, Stored};

/// A file with a whole classifier, written `FILE` or `BACKBONE=FILE`: weights of this project, or safetensors of a `PyTorch`
/// network normalised as CIFAR-100 is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFile {
    backbone: Option<Backbone>,
    path: PathBuf,
}

impl FromStr for NetworkFile {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text
            .split_once('=')
            .and_then(|(name, path)| Some((name.parse().ok()?, path)));
        let (backbone, path) = named.map_or((None, text), |(backbone, path)| (Some(backbone), path));
        Ok(Self {
            backbone,
            path: path.into(),
        })
    }
}

impl fmt::Display for NetworkFile {
    /// The name of the file, without its folder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.file_name().unwrap_or_default().display())
    }
}

impl NetworkFile {
    /// The classifier as a blob of this project, a main block or a cloud's network.
    pub(crate) fn blob(&self, classes: usize, block: Block) -> Result<Vec<u8>, Box<dyn Error>> {
        let failed = |what: &dyn fmt::Display| format!("failed to use {}: {what}", self.path.display());
        let bytes = fs::read(&self.path).map_err(|e| failed(&e))?;
        if read_card(&bytes).is_ok() {
            return Ok(bytes);
        }
        let state = StateDict::read(&self.path).map_err(|e| failed(&e))?;
        let input = InputSpec::cifar100();
        let backbone = self
            .backbone
            .or_else(|| state.recognise(&input))
            .ok_or_else(|| {
                failed(&"it is no weights of this project and no network that it knows; name the network, as in ResNet56=FILE")
            })?;
        Ok(state
            .blob(backbone, classes, input, block)
            .map_err(|e| failed(&e))?)
    }

    /// The classifier, ready to be asked.
    pub(crate) fn cloud(&self, classes: usize) -> Result<Cloud, Box<dyn Error>> {
        let blob = self.blob(classes, Block::Cloud)?;
        let cloud = Cloud::load(blob)?;
        if cloud.network.classes() == classes {
            Ok(cloud)
        } else {
            Err(format!(
                "failed to use {}: it tells {} classes apart, the model {classes}",
                self.path.display(),
                cloud.network.classes()
            )
            .into())
        }
    }
}

/// A cloud's network, its blob and the digest of that.
pub(crate) struct Cloud {
    pub(crate) network: CloudNetwork,
    pub(crate) blob: Vec<u8>,
    pub(crate) digest: String,
}

impl Cloud {
    fn load(blob: Vec<u8>) -> Result<Self, WeightsError> {
        Ok(Self {
            network: CloudNetwork::load(&blob)?,
            digest: digest(&blob),
            blob,
        })
    }
}

/// A model to be evaluated.
pub(crate) struct Subject {
    pub(crate) manifest: Manifest,
    /// Of the manifest.
    pub(crate) digest: String,
    pub(crate) blobs: ModelBlobs,
    pub(crate) edge: EdgeNetwork,
    pub(crate) cloud: Option<Cloud>,
    /// Whether the cloud is another one than the model's.
    pub(crate) foreign_cloud: bool,
}

impl Subject {
    /// Opens the model in `folder`, its edge in `precision`; `cloud` takes the place of the model's own.
    pub(crate) fn open(
        folder: &Path,
        cloud: Option<&NetworkFile>,
        precision: Precision,
    ) -> Result<Self, Box<dyn Error>> {
        let (manifest, digest, blobs) = Manifest::open(folder)?;
        let edge = EdgeNetwork::load_as(blobs.edge(), precision, Compute::default())?;
        let found = match (cloud, &blobs.cloud) {
            (Some(file), _) => Some(file.cloud(edge.classes())?),
            (None, Some(own)) => Some(Cloud::load(own.clone())?),
            (None, None) => None,
        };
        Ok(Self {
            manifest,
            digest,
            edge,
            cloud: found,
            foreign_cloud: cloud.is_some(),
            blobs,
        })
    }

    /// Height and width of the images it takes.
    pub(crate) fn size(&self) -> [usize; 2] {
        [self.manifest.input.height, self.manifest.input.width]
    }

    /// What every block says of every image.
    pub(crate) fn outputs(&self, what: &str, images: &Images) -> Result<Outputs, Box<dyn Error>> {
        let progress = Progress::new(what, images.len());
        let cloud = self.cloud.as_ref().map(|cloud| &cloud.network);
        Ok(outputs_with(
            &self.edge,
            &self.manifest.hard_classes,
            cloud,
            images,
            |done| progress.show(done),
        )?)
    }

    /// What the edge's precision changes on `images` against 32-bit floats, in words.
    pub(crate) fn against_floats(&self, images: &Images) -> Result<String, Box<dyn Error>> {
        let floats = EdgeNetwork::load(self.blobs.edge())?;
        let run = |edge: &EdgeNetwork| -> Result<(Outputs, f64), Box<dyn Error>> {
            let began = Instant::now();
            let outputs = outputs_with(edge, &self.manifest.hard_classes, None, images, |_| {})?;
            Ok((outputs, began.elapsed().as_secs_f64()))
        };
        // The first pass of each warms the caches up for the second.
        run(&floats)?;
        run(&self.edge)?;
        let (exact, exact_seconds) = run(&floats)?;
        let (coarse, seconds) = run(&self.edge)?;
        let alone = |outputs: &Outputs| -> Result<f64, Box<dyn Error>> {
            Ok(outputs
                .report(&by_entropy(None, ExtensionRule::Extension))?
                .accuracy)
        };
        Ok(format!(
            "int8 against float32 on {} images: main exit {:.2} % against {:.2} %, edge {:.2} % against {:.2} %, every block on every image {:.2} times as fast",
            images.len(),
            100.0 * coarse.main_accuracy(),
            100.0 * exact.main_accuracy(),
            100.0 * alone(&coarse)?,
            100.0 * alone(&exact)?,
            exact_seconds / seconds
        ))
    }

    /// Runs it over both sets of images. `data` and `words` say where these come from.
    pub(crate) fn evaluate(
        &self,
        selection: &Images,
        report: &Images,
        data: String,
        words: String,
    ) -> Result<Stored, Box<dyn Error>> {
        let backbone = self.manifest.backbone.to_string();
        let mut config = Config::new(self.digest.clone(), backbone, data, words, self.edge.cost());
        if let Some(cloud) = &self.cloud {
            config.cloud_backbone = Some(cloud.network.card().backbone.to_string());
            config.cloud_cost = Some(cloud.network.cost());
            config.cloud = self.foreign_cloud.then(|| cloud.digest.clone());
        }
        config.extension_classes = self.edge.outputs().to_vec();
        config.hard_classes.clone_from(&self.manifest.hard_classes);
        config.image_bytes = report.stride() as u64;
        Ok(Stored {
            selection: self.outputs("selection", selection)?,
            report: self.outputs("report", report)?,
            config,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_say_which_network_it_is() {
        let read = |text: &str| text.parse::<NetworkFile>().unwrap();
        let named = read("ResNet56=weights/a=b.safetensors");
        assert_eq!(named.backbone.unwrap().to_string(), "ResNet56");
        assert_eq!(named.path, Path::new("weights/a=b.safetensors"));
        let plain = read("weights/a=b.safetensors");
        assert_eq!(
            (plain.backbone, plain.path.to_str()),
            (None, Some("weights/a=b.safetensors"))
        );
    }

    #[test]
    fn a_file_that_is_no_network_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let file: NetworkFile = path.to_str().unwrap().parse().unwrap();
        assert!(
            file.cloud(100)
                .is_err_and(|e| e.to_string().contains("x.safetensors"))
        );
        fs::write(&path, b"no weights").unwrap();
        assert!(
            file.cloud(100)
                .is_err_and(|e| e.to_string().contains("x.safetensors"))
        );
        // Tensors, but of nothing that is known.
        let header = br#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let length = u64::try_from(header.len()).unwrap().to_le_bytes();
        fs::write(&path, [&length[..], header, &[0; 4]].concat()).unwrap();
        assert!(
            file.cloud(100)
                .is_err_and(|e| e.to_string().contains("ResNet56=FILE"))
        );
    }
}
