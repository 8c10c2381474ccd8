use meanet_engine::{Graph, Op, SegmentId, Source};

use crate::extend::{Adaptive, Extension};
use crate::input::InputSpec;
use crate::lower::{Draft, LowerError};
use crate::resnet::ResNet;

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
        main: &ResNet,
        adaptive: &Adaptive,
        extension: &Extension,
    ) -> Result<Self, LowerError> {
        let mut draft = Draft::new(input);
        let [features, logits] = main.lower(&mut draft, Source::Image)?;
        let main = draft.segment("main", [features, logits]);
        let again = adaptive.lower(&mut draft, Source::Image)?;
        let adaptive = draft.segment("adaptive", [again]);
        let joined = draft.op(Op::Concat, [features, again]);
        let logits = extension.lower(&mut draft, joined)?;
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
    pub(crate) fn new(input: &InputSpec, network: &ResNet) -> Result<Self, LowerError> {
        let mut draft = Draft::new(input);
        let outputs = network.lower(&mut draft, Source::Image)?;
        let network = draft.segment("cloud", outputs);
        Ok(Self {
            graph: draft.finish(),
            network,
        })
    }
}
