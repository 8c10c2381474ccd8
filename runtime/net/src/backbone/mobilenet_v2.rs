//! `MobileNetV2` (Sandler et al. 2018, table 2), tapped behind its 320 channels. For small images the first two strides are left
//! out, as in chenyaofo/pytorch-cifar-models.

use super::inverted::{self, Row};
use super::{Family, Part, Place, Size, StemKind, TorchNames};
use crate::layout::{Activation, Kind, Layout, Stem};

pub(super) const FAMILY: Family = Family {
    base: "MobileNetV2",
    depths: &[],
    widths: &[100, 25, 50, 75, 140],
    stems: &[StemKind::ImageNet, StemKind::Cifar],
    layout,
    torch,
    from_torch: |_, values| values,
};

const STAGES: [Row; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];
const TAIL: usize = 1280;

fn layout(size: Size) -> Layout {
    let small = size.stem == StemKind::Cifar;
    let rows = STAGES
        .into_iter()
        .enumerate()
        .map(|(index, [expand, out, blocks, stride])| {
            let stride = if small && index < 2 { 1 } else { stride };
            [expand, channels(out, size.width), blocks, stride]
        });
    inverted::layout(
        rows,
        |expand| Kind::Inverted { expand },
        Stem::new(channels(32, size.width), 3, if small { 1 } else { 2 }),
        Activation::Relu6,
        channels(TAIL, size.width.max(100)),
    )
}

/// The multiple of 8 next to so many percent, and not more than a tenth below.
fn channels(count: usize, percent: usize) -> usize {
    let wanted = count * percent;
    let rounded = ((wanted + 400) / 800 * 8).max(8);
    if rounded * 1000 < 9 * wanted {
        rounded + 8
    } else {
        rounded
    }
}

/// `features.0.0`, `features.1.conv.0.0` and `classifier.1`, as in torchvision.
fn torch(part: Part) -> Vec<TorchNames> {
    let numbered =
        |prefix: String, n: usize| TorchNames::new(format!("{prefix}{n}"), format!("{prefix}{}", n + 1));
    let name = match part {
        Part::Stem => numbered("features.0.".to_owned(), 0),
        Part::Block {
            before,
            place,
            widens,
            ..
        } => {
            let prefix = format!("features.{}.conv.", before + 1);
            let first = usize::from(widens);
            match place {
                Place::First => numbered(prefix + "0.", 0),
                Place::Second => numbered(format!("{prefix}{first}."), 0),
                Place::Third => numbered(prefix, first + 1),
                Place::Shortcut | Place::SqueezeIn | Place::SqueezeOut => return Vec::new(),
            }
        }
        Part::Tail => numbered(
            format!("features.{}.", STAGES.iter().map(|s| s[2]).sum::<usize>() + 1),
            0,
        ),
        Part::Head => TorchNames::new("classifier.1", ""),
    };
    vec![name]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_those_of_torchvision() {
        let half: Vec<usize> = [32, 16, 24, 32, 64, 96, 160, 320].map(|c| channels(c, 50)).into();
        assert_eq!(half, [16, 8, 16, 16, 32, 48, 80, 160]);
        assert_eq!(
            [channels(32, 140), channels(24, 140), channels(1280, 140)],
            [48, 32, 1792]
        );
        assert_eq!([channels(24, 75), channels(16, 25)], [24, 8]);
    }
}
