//! The network of an edge, ready to answer.

mod modules;

use meanet_engine::{EngineError, Graph, SegmentId};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};

use crate::batch::{ImageBatch, ImageError};
use crate::card::Card;
use crate::input::InputSpec;
use crate::lower::{Compute, EdgeGraph, LOGITS, LowerError, PlanError, Probes, Runner};
use crate::precision::Precision;
use crate::weights::WeightsError;
use modules::Modules;
pub(crate) use modules::{open, open_classifier};

/// The blobs of one edge network.
#[derive(Clone, Copy, Debug)]
pub struct EdgeBlobs<'a> {
    /// Main block.
    pub main: &'a [u8],
    /// Adaptive block.
    pub adaptive: &'a [u8],
    /// Extension block.
    pub extension: &'a [u8],
}

/// Why images got no answer.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum InferError {
    /// The images do not fit.
    #[snafu(display("{source}"))]
    Image {
        /// Why.
        source: ImageError,
    },
    /// The rows asked for were not part of the pass.
    #[snafu(display("failed to extend row {row}: the pass has {rows} rows"))]
    Row {
        /// The row.
        row: usize,
        /// Rows of the pass.
        rows: usize,
    },
    /// The tensor library gave no answers.
    #[snafu(transparent)]
    Device {
        /// Why.
        source: LowerError,
    },
    /// The engine did not run the network.
    #[snafu(display("failed to run the network: {source}"))]
    Run {
        /// Why.
        source: EngineError,
    },
}

impl From<EngineError> for InferError {
    fn from(source: EngineError) -> Self {
        Self::Run { source }
    }
}

/// Main, adaptive and extension block, planned for this machine. Each call computes on the caller's thread and those of a session
/// that nobody else has meanwhile.
pub struct EdgeNetwork {
    card: Card,
    outputs: Vec<u32>,
    added_weight: Option<f32>,
    cost: EdgeCost,
    segments: Segments,
    runner: Runner,
}

#[derive(Clone, Copy)]
struct Segments {
    main: SegmentId,
    adaptive: SegmentId,
    extension: SegmentId,
}

/// What the main block found, kept for the extension.
pub struct MainPass {
    /// Before softmax, `[n][classes]`.
    pub logits: Vec<Vec<f32>>,
    /// What a session saved of each image, one behind the other.
    saved: Vec<f32>,
}

/// Parameters and multiply-accumulates of one block, for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Trained values; running statistics of batch norms are not counted.
    pub parameters: usize,
    /// Multiply-accumulates of convolutions and linear layers.
    pub macs: usize,
}

/// Costs of the blocks of an edge network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeCost {
    /// Paid by each image.
    pub main: Cost,
    /// Paid where the extension runs.
    pub adaptive: Cost,
    /// Paid where the extension runs.
    pub extension: Cost,
}

impl EdgeGraph {
    /// Checks the blobs of an edge network and says what they compute.
    pub fn of_blobs(blobs: EdgeBlobs<'_>) -> Result<Self, WeightsError> {
        Modules::read(blobs)?.graph()
    }
}

impl EdgeNetwork {
    /// [`Self::load_for`] all processors.
    pub fn load(blobs: EdgeBlobs<'_>) -> Result<Self, WeightsError> {
        Self::load_for(blobs, Compute::default())
    }

    /// Checks that the blobs are what they should be and belong together, plans their network for `compute`, and compares the
    /// plan with the burn modules on a few images. The modules are gone afterwards.
    pub fn load_for(blobs: EdgeBlobs<'_>, compute: Compute) -> Result<Self, WeightsError> {
        Self::load_as(blobs, Precision::Float32, compute)
    }

    /// [`Self::load_for`], in a precision. For `Int8` all blobs have to carry ranges, and the plan may be off by
    /// [`crate::TOLERANCE_INT8`].
    pub fn load_as(
        blobs: EdgeBlobs<'_>,
        precision: Precision,
        compute: Compute,
    ) -> Result<Self, WeightsError> {
        let modules = Modules::read(blobs)?;
        let graph = modules.graph()?;
        let costs = cost_of(&graph.graph)?;
        let probes = Probes::new(&modules.card.input);
        let expectations = modules.expect(&graph, &probes)?;
        let ranges = match precision {
            Precision::Float32 => None,
            Precision::Int8 => Some(modules.ranges(&graph)?),
        };
        // The blocks go before their weights are packed, so that these are held twice and not three times.
        let (card, outputs, added_weight) = modules.without_blocks();
        let runner = match ranges {
            None => Runner::new(&graph.graph, compute, &expectations)?,
            Some(ranges) => Runner::int8(&graph.graph, &ranges, compute, &expectations)?,
        };
        Ok(Self {
            card,
            outputs,
            added_weight,
            cost: EdgeCost {
                main: costs[graph.main.0],
                adaptive: costs[graph.adaptive.0],
                extension: costs[graph.extension.0],
            },
            segments: Segments {
                main: graph.main,
                adaptive: graph.adaptive,
                extension: graph.extension,
            },
            runner,
        })
    }

    /// What it takes.
    #[must_use]
    pub fn input(&self) -> &InputSpec {
        &self.card.input
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.card.classes
    }

    /// Class of each output of the extension, ascending.
    #[must_use]
    pub fn outputs(&self) -> &[u32] {
        &self.outputs
    }

    /// What the main block is.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Parameters and multiply-accumulates.
    #[must_use]
    pub fn cost(&self) -> EdgeCost {
        self.cost
    }

    /// Runs the main block.
    pub fn main(&self, images: &ImageBatch) -> Result<MainPass, InferError> {
        images.fits(&self.card.input).context(ImageSnafu)?;
        let (main, pixels) = (self.segments.main, self.card.input.values());
        let mut pass = MainPass {
            logits: Vec::with_capacity(images.len()),
            saved: Vec::new(),
        };
        self.runner.run(|session| {
            for batch in images.images().chunks(pixels * self.runner.max_batch()) {
                let count = batch.len() / pixels;
                session.run(main, batch, count)?;
                for row in 0..count {
                    pass.logits.push(session.vector(main, LOGITS, row)?.to_vec());
                    session.save(main, row, &mut pass.saved)?;
                }
            }
            Ok(())
        })?;
        Ok(pass)
    }

    /// Runs adaptive and extension block on the `chosen` rows of a pass; `images` are those of the pass. Logits over the
    /// classes of [`Self::outputs`], `[chosen][outputs]`.
    pub fn extension(
        &self,
        pass: &MainPass,
        images: &ImageBatch,
        chosen: &[usize],
    ) -> Result<Vec<Vec<f32>>, InferError> {
        let count = pass.logits.len().min(images.len());
        if let Some(&row) = chosen.iter().find(|&&row| row >= count) {
            return RowSnafu { row, rows: count }.fail();
        }
        images.fits(&self.card.input).context(ImageSnafu)?;
        let Segments {
            main,
            adaptive,
            extension,
        } = self.segments;
        let each = pass.saved.len() / pass.logits.len().max(1);
        let mut logits = Vec::with_capacity(chosen.len());
        self.runner.run(|session| {
            for chosen in chosen.chunks(self.runner.max_batch()) {
                let count = chosen.len();
                for (place, row) in chosen.iter().enumerate() {
                    session.restore(main, place, &pass.saved[row * each..][..each])?;
                }
                let images = images.select(chosen);
                session.run(adaptive, images.images(), count)?;
                session.run(extension, images.images(), count)?;
                for place in 0..count {
                    logits.push(session.vector(extension, 0, place)?.to_vec());
                }
            }
            Ok(())
        })?;
        if let Some(weight) = self.added_weight {
            for (row, logits) in chosen.iter().zip(&mut logits) {
                for (class, logit) in self.outputs.iter().zip(logits) {
                    let main = pass.logits[*row].get(*class as usize).copied();
                    *logit += weight * main.unwrap_or(0.0);
                }
            }
        }
        Ok(logits)
    }
}

/// Costs of the segments of a graph.
pub(crate) fn cost_of(graph: &Graph) -> Result<Vec<Cost>, PlanError> {
    let costs = graph.costs().map_err(|source| PlanError::Compile { source })?;
    let cost = |cost: meanet_engine::Cost| Cost {
        parameters: cost.parameters,
        macs: cost.macs,
    };
    Ok(costs.into_iter().map(cost).collect())
}
