//! From blobs to burn modules, which say what the blocks compute.

use burn::tensor::{Device, Int, Tensor};
use meanet_engine::Ranges;
use snafu::{OptionExt, ensure};

use super::EdgeBlobs;
use crate::card::{Block, Card, Variant};
use crate::domain::Domain;
use crate::extend::{Adaptive, Extension};
use crate::input::InputSpec;
use crate::lower::{EdgeGraph, Expectation, FEATURES, LOGITS, NoRangesSnafu, PlanError, Probes};
use crate::network::Network;
use crate::weights::{BaseSnafu, MetadataSnafu, Tensors, WeightsError, apply, decode, digest, read_card};

/// The blocks of an edge network as burn modules, checked.
pub(super) struct Modules {
    pub(super) card: Card,
    outputs: Vec<u32>,
    /// What the main block's logits count where the extension's are added to them.
    added_weight: Option<f32>,
    /// Of the layers of main, adaptive and extension block.
    ranges: [Vec<[f32; 2]>; 3],
    main: Network,
    adaptive: Adaptive,
    extension: Extension,
}

impl Modules {
    /// Checks that the blobs are what they should be and belong together.
    pub(super) fn read(blobs: EdgeBlobs<'_>) -> Result<Self, WeightsError> {
        let device = Device::flex();
        let (mut card, mut main_tensors) = open(blobs.main, Block::Main)?;
        let (adaptive_card, mut adaptive_tensors) = open(blobs.adaptive, Block::Adaptive)?;
        let (extension_card, extension_tensors) = open(blobs.extension, Block::Extension)?;
        let base = digest(blobs.main);
        for other in [&adaptive_card, &extension_card] {
            ensure!(
                other.base.as_deref() == Some(&base),
                BaseSnafu {
                    reason: format!(
                        "{:?} block was trained on the features of main block {}, not of {base}; retrain it on this one",
                        other.block,
                        other.base.as_deref().unwrap_or("(none)")
                    )
                }
            );
        }
        let with = digest(blobs.adaptive);
        ensure!(
            extension_card.adaptive.as_deref() == Some(&with),
            BaseSnafu {
                reason: format!(
                    "the extension block was not trained with adaptive block {with}; use blocks of one run"
                )
            }
        );
        let outputs = outputs(&extension_card)?;
        let size = [card.input.height, card.input.width];
        let (trained, domain) = (
            Domain::of_card(&card),
            Domain::take(&adaptive_card, &mut adaptive_tensors),
        );
        domain.set(&mut card, &mut main_tensors)?;
        let mut main = Network::main(&card.blueprint(), card.classes, size, &device)
            .or_else(|reason| MetadataSnafu { reason }.fail())?;
        apply(&mut main, &format!("{} main block", card.backbone), main_tensors)?;
        let blueprint = extension_card.blueprint();
        ensure!(
            adaptive_card.blueprint() == blueprint
                && (card.backbone, card.variant) == (blueprint.backbone, blueprint.variant),
            BaseSnafu {
                reason: format!(
                    "main block, adaptive block and extension are of {}, {} and {blueprint}; use blocks of one network",
                    card.blueprint(),
                    adaptive_card.blueprint()
                )
            }
        );
        let mut adaptive = Adaptive::new(&blueprint, &device);
        apply(
            &mut adaptive,
            &format!("{} adaptive block", card.backbone),
            adaptive_tensors,
        )?;
        let mut extension = Extension::new(&blueprint, outputs.len(), &device);
        apply(
            &mut extension,
            &format!("{} extension block", card.backbone),
            extension_tensors,
        )?;
        let of_main = if domain == trained {
            card.ranges.clone()
        } else {
            adaptive_card.main_ranges
        };
        let added_weight = extension_card.added_weight();
        Ok(Self {
            ranges: [of_main, adaptive_card.ranges, extension_card.ranges],
            card,
            outputs,
            added_weight,
            main,
            adaptive,
            extension,
        })
    }

    pub(super) fn graph(&self) -> Result<EdgeGraph, WeightsError> {
        Ok(EdgeGraph::new(
            &self.card.input,
            &self.main,
            &self.adaptive,
            &self.extension,
        )?)
    }

    /// What a plan of `graph` has to answer to the probes.
    pub(super) fn expect<'a>(
        &self,
        graph: &EdgeGraph,
        probes: &'a Probes,
    ) -> Result<Vec<Expectation<'a>>, WeightsError> {
        let images = probes.tensor(&self.card.input, &Device::flex());
        let features = self.main.features(images.clone());
        let logits = self.main.logits(features.clone());
        let again = self.adaptive.forward(images);
        let extended = self.extension.forward(features.clone(), again.clone());
        let part = probes.expect("extension block", (graph.extension, 0), extended.clone())?;
        let part = if let Some(weight) = self.added_weight {
            let outputs: Vec<i32> = self.outputs.iter().map(|&class| class as i32).collect();
            let outputs = Tensor::<1, Int>::from_ints(outputs.as_slice(), &Device::flex());
            part.part_of(logits.clone().select(1, outputs) * weight + extended)?
        } else {
            part
        };
        Ok(vec![
            probes.expect("main block", (graph.main, FEATURES), features)?,
            probes.expect("main block", (graph.main, LOGITS), logits)?,
            probes.expect("adaptive block", (graph.adaptive, FEATURES), again)?,
            part,
        ])
    }

    /// Card, classes of the outputs, and what the main block's logits count where theirs are added to them; the blocks are let go.
    pub(super) fn without_blocks(self) -> (Card, Vec<u32>, Option<f32>) {
        (self.card, self.outputs, self.added_weight)
    }

    /// What the layers of all blocks read.
    pub(super) fn ranges(&self, graph: &EdgeGraph) -> Result<Ranges, PlanError> {
        let blocks = [
            ("main block", graph.main),
            ("adaptive block", graph.adaptive),
            ("extension block", graph.extension),
        ];
        for ((block, segment), ranges) in blocks.into_iter().zip(&self.ranges) {
            let layers = graph.graph.layers(segment).len();
            ensure!(ranges.len() == layers, NoRangesSnafu { block });
        }
        let block = "edge network";
        Ranges::of_layers(&graph.graph, &self.ranges).context(NoRangesSnafu { block })
    }
}

/// The card and tensors of a whole classifier: a main block, or a cloud's network.
pub(crate) fn open_classifier(bytes: &[u8]) -> Result<(Card, Tensors), WeightsError> {
    let block = match read_card(bytes)?.block {
        Block::Cloud => Block::Cloud,
        _ => Block::Main,
    };
    open(bytes, block)
}

/// The card and tensors of a blob that has to be `block`.
pub(crate) fn open(bytes: &[u8], block: Block) -> Result<(Card, Tensors), WeightsError> {
    let (card, tensors) = decode(bytes)?;
    ensure!(
        card.block == block,
        MetadataSnafu {
            reason: format!(
                "the blob is a {:?} block where a {block:?} block belongs",
                card.block
            )
        }
    );
    ensure!(
        (1..=100_000).contains(&card.classes),
        MetadataSnafu {
            reason: format!("it says {} classes; 1 to 100000 are possible", card.classes)
        }
    );
    let InputSpec { height, width, .. } = card.input;
    ensure!(
        [height, width].iter().all(|side| (1..=1024).contains(side)),
        MetadataSnafu {
            reason: format!("it says images of {height}×{width}; 1 to 1024 rows and columns are possible")
        }
    );
    ensure!(
        block != Block::Cloud || card.variant == Variant::Extend,
        MetadataSnafu {
            reason: "it is half a network, which is no network for the cloud; train it in variant Extend"
        }
    );
    ensure!(
        (0.0..=1000.0).contains(&card.main_weight),
        MetadataSnafu {
            reason: format!(
                "it multiplies the main block's logits by {}; 0 to 1000 is possible",
                card.main_weight
            )
        }
    );
    if let Err(reason) = card.blueprint().features([height, width]) {
        return MetadataSnafu { reason }.fail();
    }
    ensure!(
        card.input.std.iter().all(|s| s.is_finite() && *s > 0.0)
            && card.input.mean.iter().all(|m| m.is_finite()),
        MetadataSnafu {
            reason: "its normalisation has a standard deviation that is not positive"
        }
    );
    Ok((card, tensors))
}

fn outputs(card: &Card) -> Result<Vec<u32>, WeightsError> {
    let outputs = card.outputs.clone().unwrap_or_default();
    ensure!(
        !outputs.is_empty(),
        MetadataSnafu {
            reason: "the extension block does not name the classes of its outputs"
        }
    );
    ensure!(
        outputs.is_sorted_by(|a, b| a < b) && outputs.iter().all(|&c| (c as usize) < card.classes),
        MetadataSnafu {
            reason: format!(
                "the classes of its outputs are not ascending and below {}",
                card.classes
            )
        }
    );
    Ok(outputs)
}
