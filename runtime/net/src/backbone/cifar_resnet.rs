//! `ResNet`s for small images (He et al. 2016, §4.2): a 3×3 stem and three stages of 16, 32 and 64 channels times the width.

use super::{Family, Size, StemKind, resnet};
use crate::layout::{Activation, Kind, Layout, Stage, Stem};

pub(super) const FAMILY: Family = Family {
    base: "ResNet",
    depths: &[20, 32, 44, 56, 110],
    widths: &[100, 200, 300, 400],
    stems: &[StemKind::Cifar],
    layout,
    torch: resnet::torch,
    from_torch: |_, values| values,
};

fn layout(size: Size) -> Layout {
    let channels = [16, 32, 64].map(|c| c * size.width / 100);
    let blocks = (size.depth - 2) / 6;
    let stages: Vec<Stage> = channels
        .into_iter()
        .zip([1, 2, 2])
        .map(|(out, stride)| Stage {
            kind: Kind::Basic,
            out,
            blocks,
            stride,
        })
        .collect();
    Layout {
        stem: Stem::new(channels[0], 3, 1),
        activation: Activation::Relu,
        adaptive: resnet::one_block_each(&stages),
        extension: resnet::four_blocks(&stages),
        split: 2,
        stages,
        tail: None,
    }
}
