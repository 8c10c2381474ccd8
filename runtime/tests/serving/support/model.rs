use std::path::{Path, PathBuf};

use meanet_crds::revision::MEANetRevisionSpec;
use meanet_net::{Manifest, ModelBlobs, read_card};
use meanet_store::{Blobs, Digest};
use serde_json::json;
use tempfile::TempDir;

/// The model of the repository in a store of its own.
pub struct Model {
    pub manifest: Manifest,
    pub blobs: ModelBlobs,
    pub store: TempDir,
}

impl Model {
    pub fn new() -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/cifar100");
        let (manifest, _, blobs) = Manifest::open(&folder).unwrap();
        let store = tempfile::tempdir().unwrap();
        let put = Blobs::open(store.path()).unwrap();
        for blob in [
            &blobs.main,
            &blobs.adaptive,
            &blobs.extension,
            blobs.cloud.as_ref().unwrap(),
        ] {
            put.put_bytes(blob).unwrap();
        }
        Self {
            manifest,
            blobs,
            store,
        }
    }

    pub fn cloud_digest(&self) -> Digest {
        self.manifest.weights.cloud.as_ref().unwrap().parse().unwrap()
    }

    /// A revision of the model's weights.
    pub fn revision(&self, offload_above: f64) -> MEANetRevisionSpec {
        revision(&self.manifest, &self.manifest.weights.extension, offload_above)
    }

    /// Puts another extension block into the store, one that always answers its first class; gives its digest.
    pub fn stubborn_extension(&self) -> String {
        let outputs = read_card(&self.blobs.extension).unwrap().outputs.unwrap();
        let bytes = biased(&self.blobs.extension, outputs.len());
        let blobs = Blobs::open(self.store.path()).unwrap();
        blobs.put_bytes(&bytes).unwrap().to_string()
    }

    pub fn root(&self) -> &Path {
        self.store.path()
    }
}

/// A revision with this extension block. The edge waits for the cloud for 150 ms.
pub fn revision(manifest: &Manifest, extension: &str, offload_above: f64) -> MEANetRevisionSpec {
    serde_json::from_value(json!({
        "deployment": "cams", "number": 1, "cause": "WeightsImported",
        "model": {
            "backbone": manifest.backbone.to_string(), "variant": "Extend", "classes": manifest.classes,
            "weights": {"digest": manifest.weights.main},
        },
        "weights": {"main": manifest.weights.main, "adaptive": manifest.weights.adaptive, "extension": extension},
        "hardClasses": manifest.hard_classes,
        "routing": {"score": "Entropy", "offloadAbove": offload_above, "cloudTimeout": "150ms"},
    }))
    .unwrap()
}

/// The block with a large bias of the last layer for its first class: the one vector of `classes` values.
fn biased(block: &[u8], classes: usize) -> Vec<u8> {
    let tensors = safetensors::SafeTensors::deserialize(block).unwrap();
    let (name, bias) = tensors
        .tensors()
        .into_iter()
        .find(|(_, tensor)| tensor.shape() == [classes])
        .expect("the bias of the last layer");
    assert_eq!(bias.dtype(), safetensors::Dtype::F32, "{name}");
    let start = bias.data().as_ptr() as usize - block.as_ptr() as usize;
    let mut changed = block.to_vec();
    changed[start..start + 4].copy_from_slice(&1000_f32.to_le_bytes());
    changed
}
