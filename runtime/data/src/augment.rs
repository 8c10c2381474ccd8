use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::images::Images;

/// What is changed at random in an image that is trained on. Without colour, noise and cutout it is what everyone trains CIFAR
/// networks with: crop after padding, horizontal flip.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Augmentation {
    /// Pixels of padding on each side before cropping.
    pub padding: usize,
    /// Whether every second image on average is mirrored.
    pub flip: bool,
    /// Side of a square that is blanked at a random place (`DeVries` and Taylor 2017); 0 for none.
    pub cutout: usize,
    /// Brightness, contrast and saturation are scaled by up to 1 ± this; 0 for none.
    pub colour: f32,
    /// Largest standard deviation of sensor noise, in 0..255; 0 for none.
    pub noise: f32,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            padding: 4,
            flip: true,
            cutout: 0,
            colour: 0.0,
            noise: 0.0,
        }
    }
}

impl Augmentation {
    /// What is wrong with it, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if !(0.0..1.0).contains(&self.colour) {
            return Some(format!("a change of colour by {} is not in 0..1", self.colour));
        }
        if !(0.0..=128.0).contains(&self.noise) {
            return Some(format!("noise of {} is not in 0..128", self.noise));
        }
        (self.padding > 64).then(|| format!("padding of {} pixels is more than 64", self.padding))
    }
}

/// Images changed at random. The same seed changes the same image in the same way, whatever else is in its batch.
#[derive(Clone, Copy, Debug)]
pub struct Augment {
    how: Augmentation,
    seed: u64,
}

impl Augment {
    /// One version of each image; another seed gives another one.
    #[must_use]
    pub fn new(how: Augmentation, seed: u64) -> Self {
        Self { how, seed }
    }

    /// The images at `indices`, changed at random, as values in 0..255, `[n, 3, height, width]`. Pixels that come from
    /// the padding, and those cut out, have the value `fill` of their channel.
    #[must_use]
    pub fn batch(&self, images: &Images, indices: &[usize], fill: [f32; 3]) -> Vec<f32> {
        let mut out = vec![0.0; indices.len() * images.stride()];
        for (&index, target) in indices.iter().zip(out.chunks_exact_mut(images.stride())) {
            // An odd multiplier far from small seeds keeps neighbours apart.
            let rng = &mut ChaCha8Rng::seed_from_u64(
                (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.seed.rotate_left(32),
            );
            let span = 2 * self.how.padding;
            let (dy, dx) = (rng.random_range(0..=span), rng.random_range(0..=span));
            let flip = self.how.flip && rng.random();
            shift(images, index, (dy, dx), self.how.padding, flip, fill, target);
            if self.how.colour > 0.0 {
                recolour(target, self.how.colour, rng);
            }
            if self.how.noise > 0.0 {
                add_noise(target, self.how.noise, rng);
            }
            if self.how.cutout > 0 {
                cut(target, [images.height, images.width], self.how.cutout, fill, rng);
            }
        }
        out
    }
}

fn recolour(image: &mut [f32], most: f32, rng: &mut ChaCha8Rng) {
    let mut factor = || rng.random_range(1.0 - most..=1.0 + most);
    let (brightness, contrast, saturation) = (factor(), factor(), factor());
    let plane = image.len() / 3;
    let mean = image.iter().sum::<f32>() / image.len() as f32;
    for pixel in 0..plane {
        let colours = [0, 1, 2].map(|channel| image[channel * plane + pixel]);
        let grey = colours.iter().sum::<f32>() / 3.0;
        for (channel, colour) in colours.into_iter().enumerate() {
            let saturated = (colour - grey).mul_add(saturation, grey);
            let contrasted = (saturated - mean).mul_add(contrast, mean);
            image[channel * plane + pixel] = (contrasted * brightness).clamp(0.0, 255.0);
        }
    }
}

fn add_noise(image: &mut [f32], most: f32, rng: &mut ChaCha8Rng) {
    let deviation = rng.random_range(0.0..=most);
    for value in image {
        // The sum of four uniform values in ±1 has a variance of 4/3 and is close enough to normal.
        let sum: f32 = (0..4).map(|_| rng.random_range(-1.0..=1.0_f32)).sum();
        *value = (sum * deviation * 0.75_f32.sqrt() + *value).clamp(0.0, 255.0);
    }
}

/// Blanks a square of `side` pixels whose centre lies in the image.
fn cut(image: &mut [f32], [height, width]: [usize; 2], side: usize, fill: [f32; 3], rng: &mut ChaCha8Rng) {
    let (cy, cx) = (rng.random_range(0..height), rng.random_range(0..width));
    let half = side / 2;
    let span = |centre: usize, end: usize| centre.saturating_sub(half)..(centre + side - half).min(end);
    for (channel, value) in fill.into_iter().enumerate() {
        for y in span(cy, height) {
            let row = (channel * height + y) * width;
            let columns = span(cx, width);
            image[row + columns.start..row + columns.end].fill(value);
        }
    }
}

/// `values`, `[n, 3, height, width]`, scaled to `[n, 3, side, side]`: the mean over the pixels that fall together, so that
/// early epochs can be cheap.
#[must_use]
pub fn scaled(values: Vec<f32>, [height, width]: [usize; 2], side: usize) -> Vec<f32> {
    if [height, width] == [side, side] {
        return values;
    }
    let stride = 3 * height * width;
    let mut out = vec![0.0; values.len() / stride * 3 * side * side];
    for (full, target) in values
        .chunks_exact(stride)
        .zip(out.chunks_exact_mut(3 * side * side))
    {
        shrink(full, height, width, side, target);
    }
    out
}

/// The images at `indices` as they are, as values in 0..255, `[n, 3, height, width]`.
#[must_use]
pub fn plain(images: &Images, indices: &[usize]) -> Vec<f32> {
    let pixels = indices.iter().flat_map(|&index| images.image(index));
    pixels.map(|&value| f32::from(value)).collect()
}

fn shift(
    images: &Images,
    index: usize,
    (dy, dx): (usize, usize),
    padding: usize,
    flip: bool,
    fill: [f32; 3],
    out: &mut [f32],
) {
    let (height, width) = (images.height, images.width);
    let source = images.image(index);
    for channel in 0..3 {
        for y in 0..height {
            for x in 0..width {
                let from_x = if flip { width - 1 - x } else { x };
                let inside = (y + dy)
                    .checked_sub(padding)
                    .filter(|&v| v < height)
                    .zip((from_x + dx).checked_sub(padding).filter(|&v| v < width));
                out[(channel * height + y) * width + x] = match inside {
                    Some((sy, sx)) => f32::from(source[(channel * height + sy) * width + sx]),
                    None => fill[channel],
                };
            }
        }
    }
}

/// Mean over the box of source pixels that each target pixel covers, with the share of each.
fn shrink(full: &[f32], height: usize, width: usize, side: usize, out: &mut [f32]) {
    let (rows, columns) = (weights(height, side), weights(width, side));
    for channel in 0..3 {
        for (y, row) in rows.iter().enumerate() {
            for (x, column) in columns.iter().enumerate() {
                let mut sum = 0.0;
                for &(sy, wy) in row {
                    for &(sx, wx) in column {
                        sum += wy * wx * full[(channel * height + sy) * width + sx];
                    }
                }
                out[(channel * side + y) * side + x] = sum;
            }
        }
    }
}

fn weights(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let scale = from as f32 / to as f32;
    (0..to)
        .map(|i| {
            let (start, end) = (i as f32 * scale, (i + 1) as f32 * scale);
            (start as usize..from.min(end.ceil() as usize))
                .map(|s| (s, (end.min((s + 1) as f32) - start.max(s as f32)) / scale))
                .filter(|&(_, w)| w > 1e-6)
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Augmentation = Augmentation {
        padding: 0,
        flip: false,
        cutout: 0,
        colour: 0.0,
        noise: 0.0,
    };

    fn one_image(side: usize) -> Images {
        let mut images = Images::empty(side, side);
        let pixels: Vec<u8> = (0..images.stride()).map(|v| (v % 251) as u8).collect();
        images.push(&pixels, 0);
        images
    }

    #[test]
    fn shrinking_keeps_the_mean() {
        let full: Vec<f32> = (0..3 * 32 * 32).map(|v| (v % 251) as f32).collect();
        for side in [16, 24, 32] {
            let out = scaled(full.clone(), [32, 32], side);
            assert_eq!(out.len(), 3 * side * side);
            let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
            assert!(
                (mean(&full) - mean(&out)).abs() < 0.05,
                "{side}: {} {}",
                mean(&full),
                mean(&out)
            );
        }
    }

    #[test]
    fn nothing_asked_for_changes_nothing() {
        let images = one_image(4);
        let batch = Augment::new(NOTHING, 1).batch(&images, &[0], [0.0; 3]);
        assert_eq!(batch, plain(&images, &[0]));
    }

    #[test]
    fn the_same_seed_gives_the_same_images() {
        let images = one_image(8);
        let how = Augmentation {
            cutout: 4,
            colour: 0.4,
            noise: 20.0,
            ..Augmentation::default()
        };
        let run = |seed| Augment::new(how, seed).batch(&images, &[0], [9.0; 3]);
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
        assert!(run(3).iter().all(|v| (0.0..=255.0).contains(v)));
    }

    #[test]
    fn an_image_is_changed_alike_in_any_batch_and_images_differ() {
        let mut images = one_image(8);
        let same = images.image(0).to_vec();
        images.push(&same, 1);
        let augment = Augment::new(Augmentation::default(), 1);
        let both = augment.batch(&images, &[1, 0], [0.0; 3]);
        let (one, zero) = both.split_at(images.stride());
        assert_eq!(augment.batch(&images, &[0], [0.0; 3]), zero);
        assert_ne!(one, zero);
    }

    #[test]
    fn cutout_blanks_a_square_at_most() {
        let images = one_image(8);
        let how = Augmentation { cutout: 3, ..NOTHING };
        let whole = plain(&images, &[0]);
        for seed in 0..50 {
            let cut = Augment::new(how, seed).batch(&images, &[0], [1000.0; 3]);
            let blank = cut.iter().filter(|&&v| v > 999.0).count() / 3;
            assert!((4..=9).contains(&blank), "{blank}");
            let same = cut
                .iter()
                .zip(&whole)
                .filter(|(a, b)| a.to_bits() == b.to_bits())
                .count()
                / 3;
            assert_eq!(blank + same, 64);
        }
    }

    #[test]
    fn noise_has_the_deviation_asked_for_at_most_and_no_bias() {
        let mut images = Images::empty(32, 32);
        images.push(&[128; 3 * 1024], 0);
        let how = Augmentation {
            noise: 20.0,
            ..NOTHING
        };
        for seed in 0..5 {
            let noisy = Augment::new(how, seed).batch(&images, &[0], [0.0; 3]);
            let mean = noisy.iter().sum::<f32>() / noisy.len() as f32;
            let variance = noisy.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / noisy.len() as f32;
            assert!((mean - 128.0).abs() < 1.5, "{mean}");
            assert!(variance.sqrt() < 21.0, "{variance}");
        }
    }

    #[test]
    fn recolouring_by_nothing_and_of_grey_keeps_hues() {
        let mut images = Images::empty(2, 2);
        images.push(&[100; 12], 0);
        let how = Augmentation {
            colour: 0.3,
            ..NOTHING
        };
        let values = Augment::new(how, 1).batch(&images, &[0], [0.0; 3]);
        assert!(values.iter().all(|v| (v - values[0]).abs() < 1e-3), "{values:?}");
    }

    #[test]
    fn settings_out_of_range_are_named() {
        assert!(
            Augmentation {
                colour: 1.0,
                ..NOTHING
            }
            .fault()
            .unwrap()
            .contains("colour")
        );
        assert!(
            Augmentation {
                noise: f32::NAN,
                ..NOTHING
            }
            .fault()
            .unwrap()
            .contains("noise")
        );
        assert!(Augmentation::default().fault().is_none());
    }
}
