use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use snafu::Snafu;

/// A CIFAR `ResNet` (He et al. 2016, §4.2): a 3×3 stem and three stages of 16, 32 and 64 channels times `width`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Backbone {
    /// Layers with weights: `6·blocks + 2`.
    depth: usize,
    /// Multiplier of all channel counts; 1 but for wide networks.
    width: usize,
}

/// A name that is no backbone.
#[derive(Debug, Snafu)]
#[snafu(display(
    "failed to find a backbone named {name}: write ResNet20, ResNet32, ResNet44, ResNet56 or ResNet110, with x2, x3 or x4 behind it for a wider one"
))]
pub struct UnknownBackboneError {
    name: String,
}

const DEPTHS: [usize; 5] = [20, 32, 44, 56, 110];

impl Backbone {
    /// Residual blocks in each of the three stages.
    #[must_use]
    pub fn blocks(self) -> usize {
        (self.depth - 2) / 6
    }

    /// Multiplier of all channel counts.
    #[must_use]
    pub fn width(self) -> usize {
        self.width
    }

    /// Channels of the three stages.
    #[must_use]
    pub fn channels(self) -> [usize; 3] {
        [16, 32, 64].map(|c| c * self.width)
    }
}

impl FromStr for Backbone {
    type Err = UnknownBackboneError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownBackboneError {
            name: name.to_owned(),
        };
        let rest = name.strip_prefix("ResNet").ok_or_else(unknown)?;
        let (depth, width) = rest.split_once('x').unwrap_or((rest, "1"));
        let depth = DEPTHS
            .into_iter()
            .find(|d| d.to_string() == depth)
            .ok_or_else(unknown)?;
        let width = (1..=4).find(|w| w.to_string() == width).ok_or_else(unknown)?;
        Ok(Self { depth, width })
    }
}

impl fmt::Display for Backbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResNet{}", self.depth)?;
        if self.width > 1 {
            write!(f, "x{}", self.width)
        } else {
            Ok(())
        }
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
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for name in ["ResNet20", "ResNet32", "ResNet56", "ResNet110", "ResNet20x2"] {
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
        ] {
            assert!(name.parse::<Backbone>().is_err(), "{name}");
        }
    }
}
