use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::images::Images;

const SIDE: usize = 32;

/// Images that this project draws itself, 32×32, for machines with no data at hand; the same seed gives the same images.
///
/// Classes come in pairs that share shape and colours. In every second pair the two differ plainly, by their colours being
/// swapped; in the others only by the period of their stripes, under noise: these are the hard classes.
#[must_use]
pub fn procedural(classes: usize, count: usize, seed: u64) -> Images {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut images = Images::empty(SIDE, SIDE);
    for index in 0..count {
        let class = index % classes.max(1);
        images.push(&draw(class, &mut rng), class as u32);
    }
    images
}

fn draw(class: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let (pair, second) = (class / 2, class % 2 == 1);
    let confusable = pair % 2 == 1;
    // Steps of the golden angle keep the hues of neighbouring pairs apart.
    let mut ink = hue(pair as f32 * 0.618);
    let mut paper = hue(pair as f32 * 0.618 + 0.4).map(|v| v * 0.5);
    if second && !confusable {
        std::mem::swap(&mut ink, &mut paper);
    }
    let period = if second && confusable { 4.0 } else { 5.0 };
    let (x0, y0) = (rng.random_range(13.0..19.0_f32), rng.random_range(13.0..19.0_f32));
    let radius = rng.random_range(8.0..12.0_f32);
    let phase = rng.random_range(0.0..period);
    let light = rng.random_range(0.7..1.1_f32);
    let mut pixels = vec![0; 3 * SIDE * SIDE];
    for y in 0..SIDE {
        for x in 0..SIDE {
            let (dx, dy) = ((x as f32 - x0) / radius, (y as f32 - y0) / radius);
            let inside = shape(pair % 5, dx, dy);
            let stripe = ((x + y) as f32 + phase) % period < period / 2.0;
            let colour = if inside { ink } else { paper };
            let tone = if inside && stripe { 0.65 } else { 1.0 };
            for (channel, value) in colour.iter().enumerate() {
                let noise = rng.random_range(-45.0..45.0_f32);
                let value = value * 255.0 * tone * light + noise;
                pixels[(channel * SIDE + y) * SIDE + x] = value.clamp(0.0, 255.0) as u8;
            }
        }
    }
    pixels
}

/// Whether a point, in radii from the centre, is inside a disc, square, triangle, cross or ring.
fn shape(kind: usize, dx: f32, dy: f32) -> bool {
    match kind {
        0 => dx * dx + dy * dy < 1.0,
        1 => dx.abs() < 0.85 && dy.abs() < 0.85,
        2 => dy < 0.8 && dy > 2.0 * dx.abs() - 1.0,
        3 => (dx.abs() < 0.35 && dy.abs() < 1.0) || (dy.abs() < 0.35 && dx.abs() < 1.0),
        _ => (0.3..1.0).contains(&(dx * dx + dy * dy)),
    }
}

/// A saturated colour, in 0..1, for a hue in turns.
fn hue(turns: f32) -> [f32; 3] {
    [0.0, 1.0 / 3.0, 2.0 / 3.0].map(|offset| 0.5 + 0.45 * (std::f32::consts::TAU * (turns + offset)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_images_and_all_classes() {
        let images = procedural(10, 40, 3);
        assert_eq!(images, procedural(10, 40, 3));
        assert_ne!(images.pixels, procedural(10, 40, 4).pixels);
        assert!((0..10).all(|class| images.labels.iter().filter(|l| **l == class).count() == 4));
    }
}
