//! What is to be computed: nodes in an order in which they can run, cut into segments.

/// A network, or several that share values. Nodes only read nodes before them.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The images.
    pub input: Input,
    /// All nodes of all segments.
    pub nodes: Vec<Node>,
    /// Consecutive runs of nodes that are computed together.
    pub segments: Vec<Segment>,
}

/// The images a network takes and how their pixels become numbers: `x·scale + shift`, per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Channels, rows, columns.
    pub shape: [usize; 3],
    /// One factor a channel.
    pub scale: Vec<f32>,
    /// One summand a channel.
    pub shift: Vec<f32>,
}

/// Nodes that are computed together, and what of them is kept for the caller and for later segments.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// For error messages.
    pub name: String,
    /// Index behind its last node; it begins where the segment before it ends.
    pub end: usize,
    /// Nodes whose values are kept, one by one for each image of the batch.
    pub outputs: Vec<usize>,
}

/// Index of a segment of its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub usize);

/// One operation and where its operands come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// Its operands: two for [`Op::Add`] and [`Op::Scale`], at least one for [`Op::Concat`], one for all others.
    pub inputs: Vec<Source>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The image.
    Image,
    /// The node of this index: of the same segment, or an output of an earlier one.
    Node(usize),
}

/// Operations. A value is a map `[channels, height, width]` or a vector `[length]`; the batch is implied.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Convolution of a map.
    Conv2d(Conv2d),
    /// `scale·x + shift` of each channel, from running statistics.
    BatchNorm(BatchNorm),
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x / (1 + e^-x)`
    Swish,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// Sum of two values of one shape.
    Add,
    /// Each channel of a map times its number of a vector.
    Scale,
    /// Mean over the positions: map → vector of channels.
    GlobalAvgPool,
    /// Means of the squares of `kernel` pixels a side, `stride` apart, that lie wholly inside.
    AvgPool {
        /// Side of a square.
        kernel: usize,
        /// Distance of squares.
        stride: usize,
    },
    /// Largest value of the squares of `kernel` pixels a side, `stride` apart, of which `padding` pixels may lie outside and count for nothing.
    MaxPool {
        /// Side of a square.
        kernel: usize,
        /// Distance of squares.
        stride: usize,
        /// Pixels on each side that squares may reach beyond the map.
        padding: usize,
    },
    /// Matrix times vector; a map is read as a vector, channel by channel, row by row.
    Linear(Linear),
    /// Maps of one size, channels one behind the other.
    Concat,
    /// Every `stride`-th pixel, with channels of zeros around (He et al. 2016, §3.3, option A).
    Shortcut(Shortcut),
}

/// A convolution with equal stride and padding in both directions.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// Channels made.
    pub out: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Step in both directions.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// 1, or as many as there are channels in and out (depthwise).
    pub groups: usize,
    /// `[out, in/groups, rows, columns]`
    pub weight: Vec<f32>,
    /// `[out]`, or empty for zeros.
    pub bias: Vec<f32>,
}

impl Default for Conv2d {
    /// One output, kernel 1×1, stride 1, no padding, one group, no weights.
    fn default() -> Self {
        Self {
            out: 1,
            kernel: [1, 1],
            stride: 1,
            padding: 0,
            groups: 1,
            weight: Vec::new(),
            bias: Vec::new(),
        }
    }
}

/// Batch norm at inference; every list has one value a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Factor after normalisation.
    pub gamma: Vec<f32>,
    /// Summand after normalisation.
    pub beta: Vec<f32>,
    /// Running mean.
    pub mean: Vec<f32>,
    /// Running variance.
    pub variance: Vec<f32>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Matrix and bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Values made.
    pub out: usize,
    /// `[out, in]`
    pub weight: Vec<f32>,
    /// `[out]`, or empty for zeros.
    pub bias: Vec<f32>,
}

/// A residual connection without weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortcut {
    /// Step in both directions.
    pub stride: usize,
    /// Channels of zeros before the input's.
    pub before: usize,
    /// Channels of zeros behind them.
    pub after: usize,
}

impl Input {
    /// Pixels are taken as they are. `shape` is channels, rows, columns.
    #[must_use]
    pub fn new(shape: [usize; 3]) -> Self {
        Self {
            shape,
            scale: vec![1.0; shape[0]],
            shift: vec![0.0; shape[0]],
        }
    }

    /// Pixels in 0..255 become `(x/255 - mean) / std`; `mean` and `std` are per channel, in 0..1.
    #[must_use]
    pub fn normalised(shape: [usize; 3], mean: &[f32], std: &[f32]) -> Self {
        Self {
            shape,
            scale: std.iter().map(|s| 1.0 / (255.0 * s)).collect(),
            shift: mean.iter().zip(std).map(|(m, s)| -m / s).collect(),
        }
    }

    /// Lowest and highest number that a pixel of 0..255 becomes.
    #[must_use]
    pub fn range(&self) -> [f32; 2] {
        let ends = self.scale.iter().zip(&self.shift);
        let ends = ends.flat_map(|(scale, shift)| [*shift, 255.0 * scale + shift]);
        ends.fold([0.0, 0.0], |[low, high], end| [low.min(end), high.max(end)])
    }

    /// Values of one image.
    #[must_use]
    pub fn values(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Graph {
    /// No nodes yet.
    #[must_use]
    pub fn new(input: Input) -> Self {
        Self {
            input,
            nodes: Vec::new(),
            segments: Vec::new(),
        }
    }

    /// Appends a node and says how later ones refer to it.
    pub fn add(&mut self, op: Op, inputs: impl Into<Vec<Source>>) -> Source {
        self.nodes.push(Node {
            op,
            inputs: inputs.into(),
        });
        Source::Node(self.nodes.len() - 1)
    }

    /// Makes a segment of the nodes added since the last; of `outputs`, the image is no value to keep and is left out.
    pub fn end_segment(&mut self, name: &str, outputs: impl Into<Vec<Source>>) -> SegmentId {
        let outputs = outputs.into().into_iter().filter_map(|source| match source {
            Source::Image => None,
            Source::Node(node) => Some(node),
        });
        self.segments.push(Segment {
            name: name.to_owned(),
            end: self.nodes.len(),
            outputs: outputs.collect(),
        });
        SegmentId(self.segments.len() - 1)
    }
}
