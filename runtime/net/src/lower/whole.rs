use burn::tensor::Device;
use meanet_engine::{EngineError, Images, SegmentId, Session};

use crate::edge::{Cost, cost_of};
use crate::input::InputSpec;
use crate::lower::{CloudGraph, Compute, FEATURES, LOGITS, PlanError, Probes, Runner};
use crate::network::Network;

/// A whole classifier by itself, planned and checked.
pub(crate) struct Whole {
    segment: SegmentId,
    runner: Runner,
    cost: Cost,
    /// Values of an image.
    pixels: usize,
}

impl Whole {
    /// Plans `network`, which lies on the CPU; errors call it `name`.
    pub(crate) fn new(
        name: &'static str,
        input: &InputSpec,
        network: Network,
        compute: Compute,
    ) -> Result<Self, PlanError> {
        let CloudGraph {
            graph,
            network: segment,
        } = CloudGraph::new(input, &network)?;
        let probes = Probes::new(input);
        let features = network.features(probes.tensor(input, &Device::flex()));
        let logits = network.logits(features.clone());
        let expectations = [
            probes.expect(name, (segment, FEATURES), features)?,
            probes.expect(name, (segment, LOGITS), logits)?,
        ];
        // Before its weights are packed, so that these are held twice and not three times.
        drop(network);
        Ok(Self {
            cost: cost_of(&graph)?[segment.0],
            segment,
            runner: Runner::new(&graph, compute, &expectations)?,
            pixels: input.values(),
        })
    }

    pub(crate) fn cost(&self) -> Cost {
        self.cost
    }

    /// Before softmax, `[n][classes]`. `images` are whole images of the size planned for.
    pub(crate) fn logits(&self, images: Images<'_>) -> Result<Vec<Vec<f32>>, EngineError> {
        let mut logits = Vec::new();
        self.each(images, |session, row| {
            logits.push(session.vector(self.segment, LOGITS, row)?.to_vec());
            Ok(())
        })?;
        Ok(logits)
    }

    /// The last map, `[n, channels, height, width]`, and the logits, `[n][classes]`.
    pub(crate) fn features(&self, images: Images<'_>) -> Result<(Vec<f32>, Vec<Vec<f32>>), EngineError> {
        let (mut features, mut logits) = (Vec::new(), Vec::new());
        self.each(images, |session, row| {
            logits.push(session.vector(self.segment, LOGITS, row)?.to_vec());
            let start = features.len();
            features.resize(start + session.shape(self.segment, FEATURES)?.values(), 0.0);
            session.read(self.segment, FEATURES, row, &mut features[start..])
        })?;
        Ok((features, logits))
    }

    /// Runs batch after batch, and calls `take` with the place in its batch of each image in turn.
    fn each(
        &self,
        images: Images<'_>,
        mut take: impl FnMut(&Session, usize) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.runner.run(|session| {
            for batch in images.chunks(self.pixels * self.runner.max_batch()) {
                let count = batch.len() / self.pixels;
                session.run(self.segment, batch, count)?;
                (0..count).try_for_each(|row| take(session, row))?;
            }
            Ok(())
        })
    }
}
