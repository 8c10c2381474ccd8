use std::fmt;
use std::str::FromStr;

use snafu::Snafu;

/// What numbers a network is computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Float32,
    /// Convolutions multiply integers of 8 bits, as far as that is faster; all else is as in `Float32`.
    Int8,
}

/// A name that is no precision.
#[derive(Debug, Snafu)]
#[snafu(display("failed to find a precision named {name}: write float32 or int8"))]
pub struct UnknownPrecisionError {
    name: String,
}

impl FromStr for Precision {
    type Err = UnknownPrecisionError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.to_ascii_lowercase().as_str() {
            "float32" => Ok(Self::Float32),
            "int8" => Ok(Self::Int8),
            _ => UnknownPrecisionSnafu { name }.fail(),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Int8 => "int8",
        })
    }
}
