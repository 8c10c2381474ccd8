use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::images::Images;

/// Random shifts and mirror images, as everyone trains CIFAR networks: crop after padding, horizontal flip; and, where a
/// smaller side is asked for, the mean over the pixels that fall together, so that early epochs can be cheap.
pub struct Augment {
    padding: usize,
    flip: bool,
    rng: ChaCha8Rng,
}

impl Augment {
    /// Pads by `padding` zero pixels before cropping; mirrors every second image on average where `flip` is set.
    #[must_use]
    pub fn new(padding: usize, flip: bool, seed: u64) -> Self {
        Self {
            padding,
            flip,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// The images at `indices`, changed at random, as values in 0..255, `[n, 3, side, side]`. Pixels that come from
    /// the padding have the value `fill` of their channel.
    pub fn batch(&mut self, images: &Images, indices: &[usize], side: usize, fill: [f32; 3]) -> Vec<f32> {
        let mut out = vec![0.0; indices.len() * 3 * side * side];
        let mut whole = vec![0.0; images.stride()];
        for (&index, target) in indices.iter().zip(out.chunks_exact_mut(3 * side * side)) {
            let span = 2 * self.padding;
            let (dy, dx) = (self.rng.random_range(0..=span), self.rng.random_range(0..=span));
            let flip = self.flip && self.rng.random();
            shift(images, index, (dy, dx), self.padding, flip, fill, &mut whole);
            shrink(&whole, images.height, images.width, side, target);
        }
        out
    }
}

/// The images at `indices` as they are, as values in 0..255, `[n, 3, side, side]`.
#[must_use]
pub fn plain(images: &Images, indices: &[usize], side: usize) -> Vec<f32> {
    let mut out = vec![0.0; indices.len() * 3 * side * side];
    for (&index, target) in indices.iter().zip(out.chunks_exact_mut(3 * side * side)) {
        let full: Vec<f32> = images.image(index).iter().map(|&v| f32::from(v)).collect();
        shrink(&full, images.height, images.width, side, target);
    }
    out
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
    if (height, width) == (side, side) {
        out.copy_from_slice(full);
        return;
    }
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

    #[test]
    fn shrinking_keeps_the_mean() {
        let full: Vec<f32> = (0..3 * 32 * 32).map(|v| (v % 251) as f32).collect();
        for side in [16, 24, 32] {
            let mut out = vec![0.0; 3 * side * side];
            shrink(&full, 32, 32, side, &mut out);
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
    fn no_padding_and_no_flip_change_nothing() {
        let mut images = Images::empty(4, 4);
        images.push(&(0..48).collect::<Vec<u8>>(), 0);
        let batch = Augment::new(0, false, 1).batch(&images, &[0], 4, [0.0; 3]);
        assert_eq!(batch, plain(&images, &[0], 4));
    }

    #[test]
    fn the_same_seed_gives_the_same_images() {
        let mut images = Images::empty(8, 8);
        images.push(&(0..192).collect::<Vec<u8>>(), 0);
        let run = |seed| Augment::new(2, true, seed).batch(&images, &[0, 0, 0], 8, [9.0; 3]);
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }
}
