//! What happens to a camera after its network was trained: a change of the input that no class has changed by. Made here
//! instead of fetched, so that everyone measures adaptation on the same images.

use std::f32::consts::TAU;
use std::fmt;
use std::str::FromStr;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, Snafu, ensure};

use crate::images::Images;

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShiftKind {
    /// Night: less contrast, and the noise of a sensor at high gain.
    Noise,
    /// A lens out of focus.
    Blur,
    /// Light of another colour, and less of it.
    Colour,
}

/// A change of the input and how strong it is, written like `noise:2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shift {
    kind: ShiftKind,
    /// 0 for the weaker, 1 for the stronger.
    strength: usize,
}

/// A shift that there is not.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[snafu(display(
    "failed to find a shift named {name}: give noise, blur or colour with a strength of 1 or 2, such as noise:2"
))]
pub struct UnknownShift {
    name: String,
}

impl FromStr for Shift {
    type Err = UnknownShift;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let (kind, strength) = name.split_once(':').context(UnknownShiftSnafu { name })?;
        let kind = ShiftKind::ALL.into_iter().find(|known| known.as_str() == kind);
        let strength = strength
            .parse::<usize>()
            .ok()
            .and_then(|strength| strength.checked_sub(1));
        let (kind, strength) = kind.zip(strength).context(UnknownShiftSnafu { name })?;
        ensure!(strength < Self::STRENGTHS, UnknownShiftSnafu { name });
        Ok(Self { kind, strength })
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.strength + 1)
    }
}

impl ShiftKind {
    const ALL: [Self; 3] = [Self::Noise, Self::Blur, Self::Colour];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Blur => "blur",
            Self::Colour => "colour",
        }
    }
}

impl Shift {
    const STRENGTHS: usize = 2;

    /// Every shift, the weaker one of each kind first.
    pub fn all() -> impl Iterator<Item = Self> {
        ShiftKind::ALL
            .into_iter()
            .flat_map(|kind| (0..Self::STRENGTHS).map(move |strength| Self { kind, strength }))
    }

    /// 1 for the weaker, 2 for the stronger.
    #[must_use]
    pub fn strength(self) -> usize {
        self.strength + 1
    }

    /// `images`, shifted. What is random follows from `seed` and the position of an image alone.
    #[must_use]
    pub fn apply(self, images: &Images, seed: u64) -> Images {
        let mut shifted = Images::empty(images.height, images.width);
        shifted.pixels.reserve(images.pixels.len());
        for index in 0..images.len() {
            let mut pixels: Vec<f32> = images.image(index).iter().map(|&v| f32::from(v)).collect();
            match self.kind {
                ShiftKind::Noise => {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    rng.set_stream(index as u64);
                    let (contrast, sigma) = [(0.85, 5.0), (0.7, 10.0)][self.strength];
                    noise(&mut pixels, contrast, sigma, &mut rng);
                }
                ShiftKind::Blur => blur(&mut pixels, images.width, [0.7, 1.1][self.strength]),
                ShiftKind::Colour => {
                    let gains = [[1.0, 0.85, 0.7], [0.9, 0.7, 0.5]][self.strength];
                    for (plane, gain) in pixels.chunks_exact_mut(images.height * images.width).zip(gains) {
                        for value in plane {
                            *value *= gain;
                        }
                    }
                }
            }
            let pixels: Vec<u8> = pixels.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
            shifted.push(&pixels, images.labels[index]);
        }
        shifted
    }
}

/// Contrast towards grey, then Gaussian noise of `sigma` levels.
fn noise(pixels: &mut [f32], contrast: f32, sigma: f32, rng: &mut ChaCha8Rng) {
    for value in pixels {
        // Box and Muller 1958. The radius is of a number above 0, whose logarithm there is.
        let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
        let normal = radius * (TAU * rng.random::<f32>()).cos();
        *value = 128.0 + (*value - 128.0) * contrast + normal * sigma;
    }
}

/// A Gaussian of `sigma` pixels, rows then columns; pixels at the edge go on beyond it.
fn blur(pixels: &mut [f32], width: usize, sigma: f32) {
    let radius = (3.0 * sigma).ceil() as isize;
    let weight = |d: isize| (-0.5 * (d as f32 / sigma).powi(2)).exp();
    let total: f32 = (-radius..=radius).map(weight).sum();
    let kernel: Vec<(isize, f32)> = (-radius..=radius).map(|d| (d, weight(d) / total)).collect();
    let height = pixels.len() / 3 / width.max(1);
    let mut line = Vec::new();
    for plane in pixels.chunks_exact_mut(height * width) {
        let lines = (0..height).map(|y| (y * width, 1, width));
        for (start, step, count) in lines.chain((0..width).map(|x| (x, width, height))) {
            line.clear();
            line.extend((0..count).map(|i| plane[start + i * step]));
            for i in 0..count {
                let at = |d: isize| line[(i as isize + d).clamp(0, count as isize - 1) as usize];
                plane[start + i * step] = kernel.iter().map(|&(d, weight)| at(d) * weight).sum();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn images(pixels: Vec<u8>) -> Images {
        let count = pixels.len() / 48;
        Images {
            height: 4,
            width: 4,
            pixels,
            labels: (0..count as u32).collect(),
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        assert_eq!(Shift::all().count(), 6);
        for shift in Shift::all() {
            assert_eq!(shift.to_string().parse(), Ok(shift));
        }
        for name in ["noise", "noise:0", "noise:3", "noise:", "fog:1", ":1"] {
            let error = name.parse::<Shift>().unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("noise:2"), "{error}");
        }
    }

    #[test]
    fn a_blurred_grey_stays_grey_and_an_edge_does_not_stay_sharp() {
        let blur: Shift = "blur:2".parse().unwrap();
        let grey = images(vec![90; 48]);
        assert_eq!(blur.apply(&grey, 0), grey);
        let edge = images([0, 0, 255, 255].repeat(12));
        let row = blur.apply(&edge, 0).pixels[..4].to_vec();
        assert!(row.is_sorted() && row[1] > 30 && row[2] < 225, "{row:?}");
    }

    #[test]
    fn noise_is_as_strong_as_it_says() {
        let shift: Shift = "noise:2".parse().unwrap();
        let noisy = shift.apply(&images(vec![128; 48 * 400]), 3);
        let values = noisy.pixels.iter().map(|&v| f64::from(v) - 128.0);
        let variance = values.map(|v| v * v).sum::<f64>() / noisy.pixels.len() as f64;
        assert!((variance.sqrt() - 10.0).abs() < 0.5, "{variance}");
    }

    proptest! {
        #[test]
        fn an_image_is_shifted_the_same_wherever_it_is_cut_off(pixels in proptest::collection::vec(any::<u8>(), 96), seed: u64) {
            let two = images(pixels);
            for shift in Shift::all() {
                let both = shift.apply(&two, seed);
                prop_assert_eq!((both.len(), &both.labels), (2, &two.labels));
                prop_assert_eq!(&both, &shift.apply(&two, seed));
                prop_assert_eq!(shift.apply(&two.select(&[0]), seed).pixels, both.image(0));
            }
        }
    }
}
