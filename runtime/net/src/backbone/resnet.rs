//! `ResNet`s as of torchvision (He et al. 2016, table 1; the stride of a bottleneck on its 3×3 convolution).

use super::{Family, Part, Place, Size, StemKind, TorchNames};
use crate::layout::{Activation, Kind, Layout, Stage, Stem};

pub(super) const FAMILY: Family = Family {
    base: "ResNet",
    depths: &[18, 34, 101],
    widths: &[100],
    stems: &[StemKind::ImageNet, StemKind::Cifar],
    layout,
    torch,
    from_torch: |_, values| values,
};

fn layout(size: Size) -> Layout {
    let (kind, times, blocks) = match size.depth {
        18 => (Kind::Basic, 1, [2, 2, 2, 2]),
        34 => (Kind::Basic, 1, [3, 4, 6, 3]),
        _ => (Kind::Bottleneck, 4, [3, 4, 23, 3]),
    };
    let stages: Vec<Stage> = [64, 128, 256, 512]
        .into_iter()
        .zip([1, 2, 2, 2])
        .zip(blocks)
        .map(|((out, stride), blocks)| Stage {
            kind,
            out: out * times,
            blocks,
            stride,
        })
        .collect();
    Layout {
        stem: match size.stem {
            StemKind::Cifar => Stem::new(64, 3, 1),
            StemKind::ImageNet => Stem {
                pool: true,
                ..Stem::new(64, 7, 2)
            },
        },
        activation: Activation::Relu,
        adaptive: one_block_each(&stages),
        extension: four_blocks(&stages),
        split: 3,
        stages,
        tail: None,
    }
}

/// The adaptive block of a `ResNet`: one block a stage.
pub(super) fn one_block_each(stages: &[Stage]) -> Vec<Stage> {
    stages.iter().map(|&stage| Stage { blocks: 1, ..stage }).collect()
}

/// The extension behind a whole `ResNet`: four blocks as of its last stage, none of which reduces.
pub(super) fn four_blocks(stages: &[Stage]) -> Vec<Stage> {
    let last = stages.last().map(|&stage| Stage {
        blocks: 4,
        stride: 1,
        ..stage
    });
    last.into_iter().collect()
}

/// `conv1`, `bn1`, `layer1.0.conv1`, `layer1.0.downsample.0` and `fc`, as in torchvision; others write `shortcut` and `linear`.
pub(super) fn torch(part: Part) -> Vec<TorchNames> {
    let numbered =
        |prefix: &str, n: usize| TorchNames::new(format!("{prefix}conv{n}"), format!("{prefix}bn{n}"));
    match part {
        Part::Stem => vec![numbered("", 1)],
        Part::Block {
            stage, block, place, ..
        } => {
            let prefix = format!("layer{}.{block}.", stage + 1);
            match place {
                Place::First => vec![numbered(&prefix, 1)],
                Place::Second => vec![numbered(&prefix, 2)],
                Place::Third => vec![numbered(&prefix, 3)],
                Place::Shortcut => ["downsample", "shortcut"]
                    .map(|name| TorchNames::new(format!("{prefix}{name}.0"), format!("{prefix}{name}.1")))
                    .into(),
                Place::SqueezeIn | Place::SqueezeOut => Vec::new(),
            }
        }
        Part::Tail => Vec::new(),
        Part::Head => ["fc", "linear"].map(|name| TorchNames::new(name, "")).into(),
    }
}
