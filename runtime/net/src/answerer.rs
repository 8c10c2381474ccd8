//! A whole classifier that answers and does not learn, wherever it computes.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use meanet_engine::Images;
use snafu::ensure;

use crate::backend::Processor;
use crate::edge::{Cost, InferError, cost_of};
use crate::input::InputSpec;
use crate::lower::{
    CloudGraph, Compute, DeviceDiffersSnafu, LowerError, PlanError, Probes, TOLERANCE_DEVICE, Whole,
    difference, values,
};
use crate::network::Network;

/// A whole classifier, ready to answer.
pub(crate) enum Answerer {
    /// Planned for the engine.
    Plan(Whole),
    /// The burn module itself, on a device of the tensor library.
    Module {
        network: Box<Network>,
        input: InputSpec,
        device: Device,
        cost: Cost,
    },
}

impl Answerer {
    /// `network`, which lies on the CPU, for `processor`, and compared there with what it is on the CPU; errors call it `name`. `compute` is
    /// the engine's.
    pub(crate) fn new(
        name: &'static str,
        input: &InputSpec,
        network: Network,
        processor: &Processor,
        compute: Compute,
    ) -> Result<Self, PlanError> {
        let Processor::Burn(device) = processor else {
            return Whole::new(name, input, network, compute).map(Self::Plan);
        };
        let probes = Probes::new(input);
        let ask = |network: &Network, device: &Device| logits(network, probes.tensor(input, device));
        let expected = ask(&network, &Device::flex())?;
        let CloudGraph {
            graph,
            network: segment,
        } = CloudGraph::new(input, &network)?;
        let cost = cost_of(&graph)?[segment.0];
        drop(graph);
        let network = Box::new(network.to_device(device));
        let difference = difference(&expected, &ask(&network, device)?);
        ensure!(
            difference <= TOLERANCE_DEVICE,
            DeviceDiffersSnafu {
                block: name,
                difference,
                tolerance: TOLERANCE_DEVICE
            }
        );
        Ok(Self::Module {
            network,
            input: input.clone(),
            device: device.clone(),
            cost,
        })
    }

    /// Parameters and multiply-accumulates.
    pub(crate) fn cost(&self) -> Cost {
        match self {
            Self::Plan(network) => network.cost(),
            Self::Module { cost, .. } => *cost,
        }
    }

    /// Before softmax, `[n][classes]`. `images` are whole images of the size of its input.
    pub(crate) fn logits(&self, images: Images<'_>) -> Result<Vec<Vec<f32>>, InferError> {
        match self {
            Self::Plan(network) => Ok(network.logits(images)?),
            Self::Module {
                network,
                input,
                device,
                ..
            } => {
                let pixels: Vec<f32> = match images {
                    Images::Bytes(bytes) => bytes.iter().map(|&v| f32::from(v)).collect(),
                    Images::Floats(floats) => floats.to_vec(),
                };
                let count = (pixels.len() / input.values()).max(1);
                let answers = logits(network, input.tensor(pixels, [input.height, input.width], device))?;
                let classes = (answers.len() / count).max(1);
                Ok(answers.chunks_exact(classes).map(<[f32]>::to_vec).collect())
            }
        }
    }
}

/// `[n · classes]`
fn logits(network: &Network, images: Tensor<4>) -> Result<Vec<f32>, LowerError> {
    values("answers of a network", network.logits(network.features(images)))
}
