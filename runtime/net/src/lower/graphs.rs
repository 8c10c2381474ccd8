use meanet_engine::{Graph, SegmentId, Source};

use crate::extend::{Adaptive, Extension};
use crate::input::InputSpec;
use crate::lower::{Draft, LowerError};
use crate::network::Network;

/// Output of the segments `main` and `adaptive` that later segments read: the last map.
pub const FEATURES: usize = 0;
/// Output of the segments `main` and `cloud` that holds the logits.
pub const LOGITS: usize = 1;

/// An edge network, whose blocks are segments: an easy image pays for `main` alone.
#[derive(Clone, Debug)]
pub struct EdgeGraph {
    /// All blocks.
    pub graph: Graph,
    /// Puts out [`FEATURES`] and [`LOGITS`].
    pub main: SegmentId,
    /// Puts out [`FEATURES`].
    pub adaptive: SegmentId,
    /// Reads the features of both; puts out its own logits as its only output.
    pub extension: SegmentId,
}

/// The cloud's network.
#[derive(Clone, Debug)]
pub struct CloudGraph {
    /// The network.
    pub graph: Graph,
    /// Puts out [`FEATURES`] and [`LOGITS`].
    pub network: SegmentId,
}

impl EdgeGraph {
    pub(crate) fn new(
        input: &InputSpec,
        main: &Network,
        adaptive: &Adaptive,
        extension: &Extension,
    ) -> Result<Self, LowerError> {
        let mut draft = Draft::new(input);
        let [features, logits] = main.lower(&mut draft, Source::Image)?;
        let main = draft.segment("main", [features, logits]);
        let again = adaptive.lower(&mut draft, Source::Image)?;
        let adaptive = draft.segment("adaptive", [again]);
        let logits = extension.lower(&mut draft, [features, again])?;
        let extension = draft.segment("extension", [logits]);
        Ok(Self {
            graph: draft.finish(),
            main,
            adaptive,
            extension,
        })
    }
}

impl CloudGraph {
    pub(crate) fn new(input: &InputSpec, network: &Network) -> Result<Self, LowerError> {
        let mut draft = Draft::new(input);
        let outputs = network.lower(&mut draft, Source::Image)?;
        let network = draft.segment("cloud", outputs);
        Ok(Self {
            graph: draft.finish(),
            network,
        })
    }
}

/// Networks with weights by chance: what they cost is what trained ones cost.
mod untrained {
    use burn::tensor::Device;

    use super::{CloudGraph, EdgeGraph};
    use crate::backbone::Backbone;
    use crate::extend::{Adaptive, Extension};
    use crate::input::InputSpec;
    use crate::layout::Blueprint;
    use crate::network::Network;
    use crate::weights::{MetadataSnafu, WeightsError};

    impl EdgeGraph {
        /// An edge network as it is before training. `outputs` is the number of classes that the extension answers for.
        pub fn untrained(
            blueprint: &Blueprint,
            classes: usize,
            outputs: usize,
            input: &InputSpec,
        ) -> Result<Self, WeightsError> {
            let device = Device::flex();
            let size = [input.height, input.width];
            let main = Network::main(blueprint, classes, size, &device)
                .or_else(|reason| MetadataSnafu { reason }.fail())?;
            let adaptive = Adaptive::new(blueprint, &device);
            let extension = Extension::new(blueprint, outputs, &device);
            Ok(Self::new(input, &main, &adaptive, &extension)?)
        }
    }

    impl CloudGraph {
        /// A cloud's network as it is before training.
        pub fn untrained(
            backbone: Backbone,
            classes: usize,
            input: &InputSpec,
        ) -> Result<Self, WeightsError> {
            let blueprint = Blueprint::whole(backbone);
            if let Err(reason) = blueprint.features([input.height, input.width]) {
                return MetadataSnafu { reason }.fail();
            }
            Ok(Self::new(
                input,
                &Network::new(backbone, classes, &Device::flex()),
            )?)
        }
    }
}
