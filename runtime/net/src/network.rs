//! Whole classifiers, and those that end where a MEANet's extension begins: main blocks, and the cloud's network.

use burn::module::Module;
use burn::nn::pool::{AvgPool2dConfig, MaxPool2d};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use crate::backbone::Backbone;
use crate::blocks::{ConvNorm, Residual, stem_pool};
use crate::layout::{Blueprint, Exit, GRID, blocks, channels, tail};
use crate::lower::{Draft, LowerError};
use meanet_engine::{Op, Source};

/// A classifier whose last features can be tapped.
#[derive(Module, Debug)]
pub(crate) struct Network {
    pub(crate) stem: ConvNorm,
    pub(crate) pool: Option<MaxPool2d>,
    pub(crate) stages: Vec<Vec<Residual>>,
    pub(crate) tail: Option<ConvNorm>,
    #[module(skip)]
    pub(crate) exit: Exit,
    pub(crate) head: Linear,
}

impl Network {
    /// The backbone as published.
    pub(crate) fn new(backbone: Backbone, classes: usize, device: &Device) -> Self {
        Self::with_features(&Blueprint::whole(backbone), classes, 1, device)
    }

    /// The main block of `blueprint` for images of `image` pixels; says what is wrong with images of that size.
    pub(crate) fn main(
        blueprint: &Blueprint,
        classes: usize,
        image: [usize; 2],
        device: &Device,
    ) -> Result<Self, String> {
        let [_, height, width] = blueprint.features(image)?;
        let squares = (height / GRID) * (width / GRID);
        Ok(Self::with_features(blueprint, classes, squares, device))
    }

    /// `squares` is how many means of a channel the classifier sees where the exit is a grid.
    fn with_features(blueprint: &Blueprint, classes: usize, squares: usize, device: &Device) -> Self {
        let layout = blueprint.backbone.layout();
        let stages = blueprint.main(&layout);
        let features = channels(&layout.stem, &stages);
        let exit = blueprint.exit();
        let wide = layout.tail.filter(|_| exit == Exit::Pooled);
        let entering = match exit {
            Exit::Pooled => wide.unwrap_or(features),
            Exit::Grid => features * squares,
        };
        Self {
            stem: ConvNorm::new(&layout.stem.conv(layout.activation), device),
            pool: layout.stem.pool.then(stem_pool),
            stages: blocks(&stages, layout.stem.out)
                .iter()
                .map(|stage| stage.iter().map(|block| Residual::new(block, device)).collect())
                .collect(),
            tail: wide.map(|out| ConvNorm::new(&tail([features, out], layout.activation), device)),
            exit,
            head: LinearConfig::new(entering, classes).init(device),
        }
    }

    /// `[n, 3, h, w]`, normalised → `[n, c, h/r, w/r]`
    pub(crate) fn features(&self, x: Tensor<4>) -> Tensor<4> {
        let x = enter(&self.stem, self.pool.as_ref(), x);
        self.stages.iter().flatten().fold(x, |x, block| block.forward(x))
    }

    /// `[n, c, h/r, w/r]` → `[n, classes]`
    pub(crate) fn logits(&self, features: Tensor<4>) -> Tensor<2> {
        self.head.forward(self.entering(features))
    }

    /// What the classifier sees of features: `[n, c, h/r, w/r]` → `[n, values]`
    pub(crate) fn entering(&self, features: Tensor<4>) -> Tensor<2> {
        match self.exit {
            Exit::Pooled => pooled(self.tail.as_ref(), features),
            Exit::Grid => {
                let grid = AvgPool2dConfig::new([GRID, GRID])
                    .with_strides([GRID, GRID])
                    .init();
                grid.forward(features).flatten(1, 3)
            }
        }
    }

    /// Features and logits.
    pub(crate) fn lower(&self, draft: &mut Draft, from: Source) -> Result<[Source; 2], LowerError> {
        let mut x = lower_enter(&self.stem, self.pool.as_ref(), draft, from)?;
        for block in self.stages.iter().flatten() {
            x = block.lower(draft, x)?;
        }
        let logits = match self.exit {
            Exit::Pooled => lower_classify(self.tail.as_ref(), &self.head, draft, x)?,
            Exit::Grid => {
                let grid = draft.op(
                    Op::AvgPool {
                        kernel: GRID,
                        stride: GRID,
                    },
                    [x],
                );
                draft.linear(&self.head, grid)?
            }
        };
        Ok([x, logits])
    }
}

/// The image behind the stem.
pub(crate) fn enter(stem: &ConvNorm, pool: Option<&MaxPool2d>, x: Tensor<4>) -> Tensor<4> {
    let x = stem.forward(x);
    match pool {
        Some(pool) => pool.forward(x),
        None => x,
    }
}

pub(crate) fn lower_enter(
    stem: &ConvNorm,
    pool: Option<&MaxPool2d>,
    draft: &mut Draft,
    from: Source,
) -> Result<Source, LowerError> {
    let x = stem.lower(draft, from)?;
    Ok(match pool {
        Some(pool) => draft.max_pool(pool, x)?,
        None => x,
    })
}

/// The mean over the positions behind the tail: `[n, c, h, w]` → `[n, values]`
pub(crate) fn pooled(tail: Option<&ConvNorm>, x: Tensor<4>) -> Tensor<2> {
    let x = match tail {
        Some(tail) => tail.forward(x),
        None => x,
    };
    let [count, channels, height, width] = x.dims();
    x.reshape([count, channels, height * width])
        .mean_dim(2)
        .reshape([count, channels])
}

pub(crate) fn lower_classify(
    tail: Option<&ConvNorm>,
    head: &Linear,
    draft: &mut Draft,
    from: Source,
) -> Result<Source, LowerError> {
    let x = match tail {
        Some(tail) => tail.lower(draft, from)?,
        None => from,
    };
    draft.head(head, x)
}
