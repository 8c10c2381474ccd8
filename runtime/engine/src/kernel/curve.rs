//! Steps that change each number by itself, or by its channel.

use super::frame::{Frame, Part, Place};

/// Functions of single numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    /// `x / (1 + e^-x)`
    Swish,
    /// `1 / (1 + e^-x)`
    Sigmoid,
}

impl Curve {
    fn of(self, x: f32) -> f32 {
        // Where e^-x is infinite, the quotient is 0, as it should be.
        let sigmoid = 1.0 / (1.0 + exp(-x));
        match self {
            Self::Swish => x * sigmoid,
            Self::Sigmoid => sigmoid,
        }
    }

    /// # Safety
    /// As for [`super::program::Program`]'s tasks.
    pub(crate) unsafe fn run(self, frame: &Frame, [input, output]: [&Place; 2], part: Part) {
        let lanes = frame.kernels.lanes;
        let blocks = output.blocks(lanes);
        for unit in part.of(frame.images() * blocks) {
            let (block, image) = (unit % blocks, unit / blocks);
            // SAFETY: units are disjoint blocks of the output, whose shape is the input's.
            unsafe {
                let (from, to) = (frame.map(input, image), frame.map(output, image));
                to.clear_border(output, block, lanes);
                for y in 0..output.height {
                    let count = output.width * lanes;
                    let row = std::slice::from_raw_parts(from.at(block, y, 0, lanes), count);
                    let made = std::slice::from_raw_parts_mut(to.at(block, y, 0, lanes), count);
                    for (made, x) in made.iter_mut().zip(row) {
                        *made = self.of(*x);
                    }
                }
            }
        }
    }
}

/// Multiplies each channel of a map by its number of a vector.
///
/// # Safety
/// As for [`super::program::Program`]'s tasks; map and vector have as many channels.
pub(crate) unsafe fn scale(frame: &Frame, [input, factors, output]: [&Place; 3], part: Part) {
    let lanes = frame.kernels.lanes;
    let blocks = output.blocks(lanes);
    for unit in part.of(frame.images() * blocks) {
        let (block, image) = (unit % blocks, unit / blocks);
        // SAFETY: units are disjoint blocks of the output, whose shape is the map's.
        unsafe {
            let (from, to) = (frame.map(input, image), frame.map(output, image));
            let factors = std::slice::from_raw_parts(frame.map(factors, image).at(block, 0, 0, lanes), lanes);
            to.clear_border(output, block, lanes);
            for y in 0..output.height {
                let count = output.width * lanes;
                let row = std::slice::from_raw_parts(from.at(block, y, 0, lanes), count);
                let made = std::slice::from_raw_parts_mut(to.at(block, y, 0, lanes), count);
                for (made, pixel) in made.chunks_exact_mut(lanes).zip(row.chunks_exact(lanes)) {
                    for ((made, x), factor) in made.iter_mut().zip(pixel).zip(factors) {
                        *made = x * factor;
                    }
                }
            }
        }
    }
}

/// e^x to 2e-7 of it, written such that a compiler does many at once: 2^n by the exponent's bits, the rest by a polynomial.
fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that the rest keeps its last bits.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // Beyond, the result would be no normal number.
    let x = x.clamp(-87.0, 88.0);
    // The float next to 1.5·2^23 + n holds the integer n in its last bits.
    let shifted = x * LOG2_E + 12_582_912.0;
    let n = shifted - 12_582_912.0;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let series = [
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        0.166_666_65,
        0.5,
        1.0,
        1.0,
    ];
    power * series.iter().fold(1.987_569_2e-4, |sum, c| sum * r + c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_near() {
        for i in -8000..8000 {
            let x = i as f32 / 100.0;
            let (found, wanted) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / wanted - 1.0).abs() < 5e-7, "{x}: {found} {wanted}");
        }
    }

    #[test]
    fn curves_bear_any_number() {
        for x in [f32::NEG_INFINITY, -1e30, -200.0, 0.0, 200.0, 1e30] {
            for curve in [Curve::Swish, Curve::Sigmoid] {
                assert!(x.is_infinite() || curve.of(x).is_finite(), "{curve:?} {x}");
            }
        }
        assert!(Curve::Sigmoid.of(f32::NAN).is_nan());
    }
}
