//! The networks that can be named. Each family is one file below `backbone/`, which declares everything about it: names, stem,
//! stages, taps, what follows from them for adaptive and extension block, and what `PyTorch` code calls its parts.

mod cifar_resnet;
mod inverted;
mod micro_net;
mod mobilenet_v2;
mod resnet;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use snafu::Snafu;

use crate::layout::Layout;
use crate::weights::Values;

/// All there are. Of two that share a base, depths tell them apart.
const FAMILIES: [&Family; 4] = [
    &cifar_resnet::FAMILY,
    &resnet::FAMILY,
    &mobilenet_v2::FAMILY,
    &micro_net::FAMILY,
];

/// A network by its name: base, depth, width and stem, as in `ResNet20`, `ResNet20x2`, `ResNet18Cifar` or `MobileNetV2x0.5Cifar`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Backbone {
    /// Index into [`FAMILIES`].
    family: usize,
    size: Size,
}

/// Which member of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Size {
    /// Layers with weights; 0 where the family has one depth.
    pub(crate) depth: usize,
    /// All channel counts, in percent of the family's.
    pub(crate) width: usize,
    /// How large images enter.
    pub(crate) stem: StemKind,
}

/// What the first layers are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StemKind {
    /// Small images, of some 32 pixels a side: early strides are left out.
    Cifar,
    /// Large images, of some 224 pixels a side.
    ImageNet,
}

/// Networks that differ in size only.
pub(crate) struct Family {
    /// What names begin with.
    base: &'static str,
    /// Depths in the name; empty: there is one, and it is not named.
    depths: &'static [usize],
    /// Widths in percent; the first is not named.
    widths: &'static [usize],
    /// Stems; the first is not named.
    stems: &'static [StemKind],
    layout: fn(Size) -> Layout,
    /// What `PyTorch` code may call a part: candidates in order.
    torch: fn(Part) -> Vec<TorchNames>,
    /// From their values of a part's convolution to ours.
    from_torch: fn(Part, Values) -> Values,
}

/// A part of a network that has a convolution or a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Stem,
    Block {
        stage: usize,
        /// Within its stage.
        block: usize,
        /// Blocks of all stages before it.
        before: usize,
        place: Place,
        /// Whether the block begins with a widening convolution.
        widens: bool,
    },
    Tail,
    Head,
}

/// A convolution of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    Second,
    Third,
    Shortcut,
    SqueezeIn,
    SqueezeOut,
}

/// Names of a convolution (or linear layer) and of the batch norm behind it, without the tensor's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TorchNames {
    pub(crate) conv: String,
    pub(crate) norm: String,
}

impl TorchNames {
    fn new(conv: impl Into<String>, norm: impl Into<String>) -> Self {
        Self {
            conv: conv.into(),
            norm: norm.into(),
        }
    }
}

/// A name that is no backbone.
#[derive(Debug, Snafu)]
#[snafu(display("failed to find a backbone named {name}: write one of {}", patterns()))]
pub struct UnknownBackboneError {
    name: String,
}

impl Backbone {
    /// All that can be named.
    pub fn all() -> impl Iterator<Item = Self> {
        FAMILIES
            .iter()
            .enumerate()
            .flat_map(|(family, declared)| declared.sizes().map(move |size| Self { family, size }))
    }

    /// Multiplier of all channel counts, in percent.
    #[must_use]
    pub fn width(self) -> usize {
        self.size.width
    }

    pub(crate) fn is_for_small_images(self) -> bool {
        self.size.stem == StemKind::Cifar
    }

    pub(crate) fn layout(self) -> Layout {
        (self.declared().layout)(self.size)
    }

    pub(crate) fn torch(self, part: Part) -> Vec<TorchNames> {
        (self.declared().torch)(part)
    }

    #[allow(clippy::wrong_self_convention, reason = "it converts values, and no backbone")]
    pub(crate) fn from_torch(self, part: Part, values: Values) -> Values {
        (self.declared().from_torch)(part, values)
    }

    fn declared(self) -> &'static Family {
        FAMILIES[self.family]
    }
}

impl Family {
    fn sizes(&self) -> impl Iterator<Item = Size> {
        let depths = if self.depths.is_empty() { &[0] } else { self.depths };
        depths.iter().flat_map(move |&depth| {
            self.widths
                .iter()
                .flat_map(move |&width| self.stems.iter().map(move |&stem| Size { depth, width, stem }))
        })
    }

    /// How names are formed, for messages: `ResNet{20,32}[x2,x3]`.
    #[allow(clippy::format_push_string, reason = "an error message is made once")]
    fn pattern(&self) -> String {
        let joined = |values: Vec<String>| values.join(",");
        let mut pattern = self.base.to_owned();
        if !self.depths.is_empty() {
            let depths = self.depths.iter().map(usize::to_string).collect();
            pattern += &format!("{{{}}}", joined(depths));
        }
        if self.widths.len() > 1 {
            let widths = self.widths[1..].iter().map(|&w| width_suffix(w)).collect();
            pattern += &format!("[{}]", joined(widths));
        }
        if self.stems.len() > 1 {
            let stems = self.stems[1..].iter().map(|s| format!("{s:?}")).collect();
            pattern += &format!("[{}]", joined(stems));
        }
        pattern
    }
}

fn patterns() -> String {
    let patterns: Vec<String> = FAMILIES.iter().map(|f| f.pattern()).collect();
    patterns.join(", ")
}

/// `x2`, `x0.5`
fn width_suffix(percent: usize) -> String {
    format!("x{}", percent as f64 / 100.0)
}

impl FromStr for Backbone {
    type Err = UnknownBackboneError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::all()
            .find(|backbone| backbone.to_string() == name)
            .ok_or_else(|| UnknownBackboneError {
                name: name.to_owned(),
            })
    }
}

impl fmt::Display for Backbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, size) = (self.declared(), self.size);
        write!(f, "{}", family.base)?;
        if size.depth > 0 {
            write!(f, "{}", size.depth)?;
        }
        if size.width != family.widths[0] {
            write!(f, "{}", width_suffix(size.width))?;
        }
        if size.stem != family.stems[0] {
            write!(f, "{:?}", size.stem)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Backbone {
    type Error = UnknownBackboneError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<Backbone> for String {
    fn from(backbone: Backbone) -> Self {
        backbone.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for name in [
            "ResNet20",
            "ResNet110",
            "ResNet20x2",
            "ResNet101",
            "ResNet18Cifar",
            "MobileNetV2",
            "MobileNetV2x0.5Cifar",
            "MicroNet",
        ] {
            assert_eq!(name.parse::<Backbone>().unwrap().to_string(), name);
        }
        for name in [
            "",
            "resnet20",
            "ResNet21",
            "ResNet20x0",
            "ResNet20x5",
            "ResNet020",
            "ResNet20x1x1",
            "ResNet20x1",
            "ResNet20Cifar",
            "MobileNetV2ImageNet",
        ] {
            assert!(name.parse::<Backbone>().is_err(), "{name}");
        }
        let error = "VGG".parse::<Backbone>().unwrap_err().to_string();
        assert!(
            error.contains("ResNet{20,32,44,56,110}[x2,x3,x4], ResNet{18,34,101}[Cifar], MobileNetV2[x0.25,"),
            "{error}"
        );
    }

    #[test]
    fn no_two_have_one_name() {
        let names: BTreeSet<String> = Backbone::all().map(|b| b.to_string()).collect();
        assert_eq!(names.len(), Backbone::all().count());
    }
}
