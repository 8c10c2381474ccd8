//! Weights as integers.

use crate::kernel::{FREQUENCIES, Grid, WEIGHT_BITS, largest};
use crate::lower::Weights;
use crate::pack::frequencies;

/// Largest 8-bit weight.
const MOST: f64 = 127.0;

/// Integers, and the factors that make numbers of them again.
pub(crate) struct Rounded {
    /// In the order of the weights, or `[frequency, out, channels]`.
    pub(crate) words: Vec<i16>,
    /// `[out]`, or `[frequency][out]`
    pub(crate) factors: Vec<f64>,
}

/// 8-bit weights, with a step of its own for each channel out.
pub(crate) fn direct(weights: &Weights) -> Rounded {
    let mut rounded = Rounded {
        words: Vec::with_capacity(weights.weight.len()),
        factors: Vec::with_capacity(weights.out),
    };
    for filter in weights.weight.chunks_exact(weights.weight.len() / weights.out) {
        let most = filter.iter().fold(0.0_f64, |m, w| m.max(f64::from(w.abs())));
        let step = if most > 0.0 { most / MOST } else { 1.0 };
        let words = filter.iter().map(|w| (f64::from(*w) / step).round() as i16);
        rounded.words.extend(words);
        rounded.factors.push(step);
    }
    rounded
}

/// Frequencies of 3×3 filters over `channels` channels whose pixels are of `grid`. The step of each frequency of each channel out is
/// as small as it can be with words of [`WEIGHT_BITS`] bits and sums of 32 bits, whatever the pixels.
pub(crate) fn winograd(weights: &Weights, channels: usize, grid: Grid) -> Rounded {
    let most = f64::from((1_i32 << (WEIGHT_BITS - 1)) - 1);
    let mut rounded = Rounded {
        words: vec![0; FREQUENCIES * weights.out * channels],
        factors: vec![1.0; FREQUENCIES * weights.out],
    };
    let pixels = largest(grid);
    for (out, filters) in weights.weight.chunks_exact(channels * 9).enumerate() {
        let all: Vec<[f32; FREQUENCIES]> = filters.chunks_exact(9).map(frequencies).collect();
        for frequency in 0..FREQUENCIES {
            let values = || all.iter().map(|f| f64::from(f[frequency]));
            let (sum, top) = values().fold((0.0, 0.0_f64), |(sum, top), v| (sum + v.abs(), top.max(v.abs())));
            if top == 0.0 {
                continue;
            }
            // A weight is rounded by half at most, so the sum of the integers is below sum/step + channels/2.
            let room = f64::from(i32::MAX) / f64::from(pixels[frequency].max(1)) - channels as f64;
            let step = (top / most).max(sum / room);
            for (channel, value) in values().enumerate() {
                rounded.words[(frequency * weights.out + out) * channels + channel] =
                    (value / step).round() as i16;
            }
            rounded.factors[frequency * weights.out + out] = step;
        }
    }
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_sums_fit() {
        for channels in [16, 64, 512] {
            let weights = Weights {
                out: 1,
                kernel: [3, 3],
                weight: (0..channels * 9)
                    .map(|i| if i % 9 == 4 { 1.0 } else { -0.5 })
                    .collect(),
                ..Weights::default()
            };
            for range in [[0.0, 6.0], [-1.0, 1.0], [-3.0, 0.0]] {
                let grid = Grid::new(range);
                let rounded = winograd(&weights, channels, grid);
                for (frequency, words) in rounded.words.chunks_exact(channels).enumerate() {
                    let sum: i64 = words.iter().map(|w| i64::from(w.abs())).sum();
                    let largest = sum * i64::from(largest(grid)[frequency]);
                    assert!(
                        largest <= i64::from(i32::MAX),
                        "{channels} {range:?} {frequency}: {largest}"
                    );
                }
            }
        }
    }
}
