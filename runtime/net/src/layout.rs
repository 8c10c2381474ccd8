//! What a network consists of, as declared: the tensors, the graph and the counts are made from it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::backbone::Backbone;
use crate::card::Variant;

/// A family member's declaration.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) stem: Stem,
    /// Of stem and tail.
    pub(crate) activation: Activation,
    /// Of the whole network.
    pub(crate) stages: Vec<Stage>,
    /// Of the adaptive block, one for each of the whole network.
    pub(crate) adaptive: Vec<Stage>,
    /// Of the extension behind a whole network; none of them reduces.
    pub(crate) extension: Vec<Stage>,
    /// The first stage that is the extension's where main block and extension share the network.
    pub(crate) split: usize,
    /// Channels of a 1×1 convolution before the classifier.
    pub(crate) tail: Option<usize>,
}

/// The convolution that the image enters by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stem {
    pub(crate) out: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    /// Whether the largest of 3×3 pixels, two apart, is taken behind it.
    pub(crate) pool: bool,
}

/// Blocks of one kind, the first of which changes channels and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    pub(crate) kind: Kind,
    pub(crate) out: usize,
    pub(crate) blocks: usize,
    pub(crate) stride: usize,
}

/// A block with a way around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Two 3×3 convolutions (He et al. 2016, fig. 5 left).
    Basic,
    /// 1×1 to a quarter of the channels, 3×3, 1×1 (He et al. 2016, fig. 5 right).
    Bottleneck,
    /// 1×1 to `expand` times the channels, 3×3 for each channel by itself, 1×1 without an activation (Sandler et al. 2018).
    Inverted { expand: usize },
    /// The same with swish, and channels weighted by what all of them show on average (Tan and Le 2019). Reduces unpadded.
    Squeezed { expand: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Relu,
    Relu6,
    Swish,
}

/// One block of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) kind: Kind,
    /// In and out.
    pub(crate) channels: [usize; 2],
    pub(crate) stride: usize,
}

/// One convolution with a batch norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conv {
    /// In and out.
    pub(crate) channels: [usize; 2],
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    /// Each channel by itself.
    pub(crate) depthwise: bool,
    pub(crate) then: Activation,
}

/// The convolutions of a block, in the order they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) first: Option<Conv>,
    pub(crate) second: Conv,
    pub(crate) third: Option<Conv>,
    /// Channels before the last convolution, and the few they are squeezed to.
    pub(crate) squeeze: Option<[usize; 2]>,
    pub(crate) way: Way,
    /// After the sum.
    pub(crate) then: Activation,
}

/// What is added to a block's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Nothing,
    Input,
    Projected(Conv),
}

/// How main and adaptive features are put together for the extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fusion {
    /// Channels one behind the other.
    #[default]
    Concat,
    /// Added.
    Sum,
}

/// How a main block gets from features to the classifier's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Tail, if any, and the mean over the positions.
    Pooled,
    /// Means of squares of [`GRID`] pixels, all of which the classifier sees: half a network's features are too local for one mean.
    Grid,
}

/// Side of the squares of [`Exit::Grid`], and their distance.
pub(crate) const GRID: usize = 3;

/// A whole MEANet: which blocks there are follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blueprint {
    /// The main block's network.
    pub backbone: Backbone,
    /// Where the extension begins.
    pub variant: Variant,
    /// How main and adaptive features meet.
    pub fusion: Fusion,
}

impl fmt::Display for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, {:?})", self.backbone, self.variant, self.fusion)
    }
}

impl Blueprint {
    /// The backbone as published, by itself.
    #[must_use]
    pub fn whole(backbone: Backbone) -> Self {
        Self {
            backbone,
            variant: Variant::Extend,
            fusion: Fusion::Concat,
        }
    }

    /// Stages of the main block.
    pub(crate) fn main(&self, layout: &Layout) -> Vec<Stage> {
        layout.stages[..self.taps(layout)].to_vec()
    }

    /// Stages of the adaptive block, whose features are like the main block's.
    pub(crate) fn adaptive(&self, layout: &Layout) -> Vec<Stage> {
        layout.adaptive[..self.taps(layout)].to_vec()
    }

    /// Stages of the extension, and the channels that enter it.
    pub(crate) fn extension(&self, layout: &Layout) -> (usize, Vec<Stage>) {
        let taps = self.taps(layout);
        let features = channels(&layout.stem, &self.main(layout));
        let entering = match self.fusion {
            Fusion::Concat => 2 * features,
            Fusion::Sum => features,
        };
        let stages = match self.variant {
            Variant::Extend => layout.extension.clone(),
            Variant::Split => layout.stages[taps..].to_vec(),
        };
        (entering, stages)
    }

    /// Of the main block.
    pub(crate) fn exit(&self) -> Exit {
        match self.variant {
            Variant::Extend => Exit::Pooled,
            Variant::Split => Exit::Grid,
        }
    }

    /// Channels, rows and columns of the features for an image of so many rows and columns; says what is wrong with images of that size.
    pub(crate) fn features(&self, image: [usize; 2]) -> Result<[usize; 3], String> {
        let layout = self.backbone.layout();
        let least = match self.exit() {
            Exit::Pooled => 1,
            Exit::Grid => GRID,
        };
        let side = |side: usize| {
            let sides = layout.sides(side)?;
            sides
                .get(self.taps(&layout).checked_sub(1)?)
                .copied()
                .filter(|&side| side >= least)
        };
        match image.map(side) {
            [Some(height), Some(width)] => Ok([channels(&layout.stem, &self.main(&layout)), height, width]),
            _ => Err(format!(
                "images of {}×{} are too small for a {} in variant {:?}",
                image[0], image[1], self.backbone, self.variant
            )),
        }
    }

    fn taps(&self, layout: &Layout) -> usize {
        match self.variant {
            Variant::Extend => layout.stages.len(),
            Variant::Split => layout.split,
        }
    }
}

impl Layout {
    /// Rows (or columns) behind each stage for an image of so many; none where a kernel does not fit any more.
    fn sides(&self, side: usize) -> Option<Vec<usize>> {
        let mut side = self.stem.side(side)?;
        let stages = blocks(&self.stages, self.stem.out);
        let behind = stages.iter().map(|stage| {
            side = stage.iter().try_fold(side, |side, block| block.side(side))?;
            Some(side)
        });
        behind.collect()
    }
}

impl Stem {
    /// Padded so that stride 1 keeps the size, with no pool behind it.
    pub(crate) fn new(out: usize, kernel: usize, stride: usize) -> Self {
        Self {
            out,
            kernel,
            stride,
            padding: kernel / 2,
            pool: false,
        }
    }

    pub(crate) fn conv(&self, then: Activation) -> Conv {
        Conv {
            channels: [3, self.out],
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            depthwise: false,
            then,
        }
    }

    fn side(&self, side: usize) -> Option<usize> {
        let side = self.conv(Activation::None).side(side)?;
        if self.pool {
            window(side, 3, 2, 1)
        } else {
            Some(side)
        }
    }
}

impl Conv {
    /// 1×1 or 3×3, padded so that stride 1 keeps the size.
    fn new(channels: [usize; 2], kernel: usize, stride: usize, then: Activation) -> Self {
        Self {
            channels,
            kernel,
            stride,
            padding: kernel / 2,
            depthwise: false,
            then,
        }
    }

    fn side(&self, side: usize) -> Option<usize> {
        window(side, self.kernel, self.stride, self.padding)
    }
}

/// Places of a window; none where it does not fit.
fn window(side: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    (side + 2 * padding)
        .checked_sub(kernel)
        .map(|rest| rest / stride + 1)
}

impl Block {
    /// What it is made of.
    pub(crate) fn parts(&self) -> Parts {
        let [input, out] = self.channels;
        let same = self.stride == 1 && input == out;
        let projected = Way::Projected(Conv::new(self.channels, 1, self.stride, Activation::None));
        match self.kind {
            Kind::Basic => Parts {
                first: Some(Conv::new(self.channels, 3, self.stride, Activation::Relu)),
                second: Conv::new([out, out], 3, 1, Activation::None),
                third: None,
                squeeze: None,
                way: if same { Way::Input } else { projected },
                then: Activation::Relu,
            },
            Kind::Bottleneck => {
                let inner = out / 4;
                Parts {
                    first: Some(Conv::new([input, inner], 1, 1, Activation::Relu)),
                    second: Conv::new([inner, inner], 3, self.stride, Activation::Relu),
                    third: Some(Conv::new([inner, out], 1, 1, Activation::None)),
                    squeeze: None,
                    way: if same { Way::Input } else { projected },
                    then: Activation::Relu,
                }
            }
            Kind::Inverted { expand } => self.inverted(expand, Activation::Relu6),
            Kind::Squeezed { expand } => {
                let parts = self.inverted(expand, Activation::Swish);
                let padding = usize::from(self.stride == 1);
                Parts {
                    second: Conv {
                        padding,
                        ..parts.second
                    },
                    squeeze: Some([input * expand, (input / 5).max(1)]),
                    ..parts
                }
            }
        }
    }

    fn inverted(&self, expand: usize, then: Activation) -> Parts {
        let [input, out] = self.channels;
        let inner = input * expand;
        Parts {
            first: (expand > 1).then(|| Conv::new([input, inner], 1, 1, then)),
            second: Conv {
                depthwise: true,
                ..Conv::new([inner, inner], 3, self.stride, then)
            },
            third: Some(Conv::new([inner, out], 1, 1, Activation::None)),
            squeeze: None,
            way: if self.stride == 1 && input == out {
                Way::Input
            } else {
                Way::Nothing
            },
            then: Activation::None,
        }
    }

    fn side(&self, side: usize) -> Option<usize> {
        let parts = self.parts();
        [parts.first, Some(parts.second), parts.third]
            .into_iter()
            .flatten()
            .try_fold(side, |side, conv| conv.side(side))
    }
}

/// The blocks of each stage, of which `input` channels enter the first.
pub(crate) fn blocks(stages: &[Stage], mut input: usize) -> Vec<Vec<Block>> {
    let mut block = |stage: &Stage, index: usize| {
        let block = Block {
            kind: stage.kind,
            channels: [input, stage.out],
            stride: if index == 0 { stage.stride } else { 1 },
        };
        input = stage.out;
        block
    };
    stages
        .iter()
        .map(|stage| (0..stage.blocks).map(|index| block(stage, index)).collect())
        .collect()
}

/// Channels behind the last of `stages`.
pub(crate) fn channels(stem: &Stem, stages: &[Stage]) -> usize {
    stages.last().map_or(stem.out, |stage| stage.out)
}

/// The 1×1 convolution before a classifier.
pub(crate) fn tail(channels: [usize; 2], then: Activation) -> Conv {
    Conv::new(channels, 1, 1, then)
}
