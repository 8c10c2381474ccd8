//! The network with which OSI-AI entered the `MicroNet` challenge of 2019: inverted residuals with squeeze and excitation, as in
//! `EfficientNet` (Tan and Le 2019), for images of 32 pixels. 80.85 % on CIFAR-100 from less than half a million parameters.
//!
//! Their code doubles the image's pixels, leaves out the last row and column, and begins with a 3×3 convolution of stride 2: every
//! second pixel it sees is a copy. That is a 2×2 convolution of stride 1 over the image as it is, which is what is here.

use super::inverted::{self, Row};
use super::{Family, Part, Place, Size, StemKind, TorchNames};
use crate::layout::{Activation, Kind, Layout, Stem};
use crate::weights::Values;

pub(super) const FAMILY: Family = Family {
    base: "MicroNet",
    depths: &[],
    widths: &[100],
    stems: &[StemKind::Cifar],
    layout,
    torch,
    from_torch,
};

const STAGES: [Row; 7] = [
    [1, 16, 1, 1],
    [6, 24, 1, 1],
    [6, 40, 2, 2],
    [6, 48, 1, 1],
    [6, 64, 2, 1],
    [6, 80, 2, 2],
    [6, 96, 1, 1],
];

fn layout(_: Size) -> Layout {
    let stem = Stem {
        padding: 0,
        ..Stem::new(24, 2, 1)
    };
    let kind = |expand| Kind::Squeezed { expand };
    inverted::layout(STAGES, kind, stem, Activation::Swish, 136)
}

fn torch(part: Part) -> Vec<TorchNames> {
    let name = match part {
        Part::Stem => TorchNames::new("_conv_stem", "_bn0"),
        Part::Block { before, place, .. } => {
            let (conv, norm) = match place {
                Place::First => ("_expand_conv", "_bn0"),
                Place::Second => ("_conv", "_bn1"),
                Place::Third => ("_project_conv", "_bn2"),
                Place::SqueezeIn => ("_se_reduce", ""),
                Place::SqueezeOut => ("_se_expand", ""),
                Place::Shortcut => return Vec::new(),
            };
            TorchNames::new(
                format!("_blocks.{before}.{conv}"),
                format!("_blocks.{before}.{norm}"),
            )
        }
        Part::Tail => TorchNames::new("_conv_head", "_bn1"),
        Part::Head => TorchNames::new("_fc", ""),
    };
    vec![name]
}

/// The stem over doubled pixels as one over single ones: of three rows the first two see one pixel, as of columns.
fn from_torch(part: Part, values: Values) -> Values {
    match (part, &values.shape[..]) {
        (Part::Stem, &[out, input, 3, 3]) => {
            let mut data = vec![0.0; out * input * 4];
            for (filter, to) in values.data.chunks_exact(9).zip(data.chunks_exact_mut(4)) {
                for (place, weight) in filter.iter().enumerate() {
                    to[place / 3 / 2 * 2 + place % 3 / 2] += weight;
                }
            }
            Values {
                shape: vec![out, input, 2, 2],
                data,
            }
        }
        _ => values,
    }
}
