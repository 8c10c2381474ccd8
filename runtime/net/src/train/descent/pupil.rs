//! What can be trained: on a device by its `forward`, by the engine as the graph that its `lower` gives.

use burn::module::Module;
use burn::store::ModuleSnapshot;
use burn::tensor::{Device, Tensor, TensorData};
use meanet_engine::{self as engine, Graph, Op, SegmentId, Source};

use crate::extend::Specialist;
use crate::input::InputSpec;
use crate::lower::{Draft, LOGITS, LowerError, Weighted};
use crate::network::Network;

/// What a batch looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::train) struct Form {
    pub(in crate::train) count: usize,
    /// Rows and columns of the images.
    pub(in crate::train) size: [usize; 2],
    /// Channels, rows and columns of features that come with the images.
    pub(in crate::train) features: Option<[usize; 3]>,
}

/// Images, and features where the module takes some.
pub(in crate::train) struct Batch {
    pub(in crate::train) form: Form,
    /// `[n, 3, height, width]`, in 0..255.
    pub(in crate::train) pixels: Vec<f32>,
    /// `[n, channels, height, width]`, or nothing.
    pub(in crate::train) features: Vec<f32>,
}

impl Form {
    /// Of images alone.
    pub(in crate::train) fn of_images(count: usize, size: [usize; 2]) -> Self {
        Self {
            count,
            size,
            features: None,
        }
    }
}

impl Batch {
    /// Images alone, of a size.
    pub(in crate::train) fn of_images(pixels: Vec<f32>, size: [usize; 2]) -> Self {
        Self {
            form: Form::of_images(pixels.len() / (3 * size[0] * size[1]).max(1), size),
            pixels,
            features: Vec::new(),
        }
    }
}

/// A module as a graph.
pub(in crate::train) struct Drawn {
    pub(in crate::train) graph: Graph,
    /// The first segment that is trained.
    pub(in crate::train) first: SegmentId,
    /// All of them.
    pub(in crate::train) segments: Vec<SegmentId>,
    /// The segment and output that are the logits.
    pub(in crate::train) output: (SegmentId, usize),
    pub(in crate::train) weighted: Vec<Weighted>,
}

/// A module that learns to tell classes apart.
pub(in crate::train) trait Pupil: Module + ModuleSnapshot {
    /// Logits, `[n, outputs]`; with gradients where `device` keeps them.
    fn answer(&self, batch: Batch, input: &InputSpec, device: &Device) -> Tensor<2>;

    /// The same as a graph for batches of `form`.
    fn draw(&self, input: &InputSpec, form: Form) -> Result<Drawn, LowerError>;
}

impl Pupil for Network {
    fn answer(&self, batch: Batch, input: &InputSpec, device: &Device) -> Tensor<2> {
        self.logits(self.features(input.tensor(batch.pixels, batch.form.size, device)))
    }

    fn draw(&self, input: &InputSpec, form: Form) -> Result<Drawn, LowerError> {
        let mut draft = Draft::new(&sized(input, form));
        let outputs = self.lower(&mut draft, Source::Image)?;
        let segment = draft.segment("network", outputs);
        let (graph, weighted) = draft.finish_weighted();
        Ok(Drawn {
            graph,
            first: segment,
            segments: vec![segment],
            output: (segment, LOGITS),
            weighted,
        })
    }
}

impl Pupil for Specialist {
    fn answer(&self, batch: Batch, input: &InputSpec, device: &Device) -> Tensor<2> {
        let Form {
            count,
            size,
            features,
        } = batch.form;
        let [channels, height, width] = features.unwrap_or_default();
        let features = TensorData::new(batch.features, [count, channels, height, width]);
        let features = Tensor::from_data(features, device);
        self.forward(input.tensor(batch.pixels, size, device), features)
    }

    fn draw(&self, input: &InputSpec, form: Form) -> Result<Drawn, LowerError> {
        let mut draft = Draft::new(&sized(input, form));
        let [channels, height, _] = form.features.unwrap_or([1; 3]);
        // Stands for the main block: of it nothing is computed, and the shape of its features is all that counts.
        let side = form.size[0] / height.max(1);
        let pool = Op::AvgPool {
            kernel: side,
            stride: side,
        };
        let pooled = draft.op(pool, [Source::Image]);
        let conv = engine::Conv2d {
            out: channels,
            weight: vec![0.0; 3 * channels],
            ..engine::Conv2d::default()
        };
        let features = draft.op(Op::Conv2d(conv), [pooled]);
        draft.segment("main", [features]);
        let again = self.adaptive.lower(&mut draft, Source::Image)?;
        let first = draft.segment("adaptive", [again]);
        let logits = self.extension.lower(&mut draft, [features, again])?;
        let last = draft.segment("extension", [logits]);
        let (graph, weighted) = draft.finish_weighted();
        Ok(Drawn {
            graph,
            first,
            segments: vec![first, last],
            output: (last, 0),
            weighted,
        })
    }
}

fn sized(input: &InputSpec, form: Form) -> InputSpec {
    let [height, width] = form.size;
    InputSpec {
        height,
        width,
        ..input.clone()
    }
}
