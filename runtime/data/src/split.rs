use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::images::Training;

/// Cuts `training` into parts of the sizes given and what is left, after one shuffle by `seed`: the same seed gives the
/// same parts.
///
/// # Panics
/// When the parts are larger than the whole.
#[must_use]
pub fn split(training: &Training, parts: &[usize], seed: u64) -> Vec<Training> {
    let images = &training.0;
    shares(images.len(), parts, seed)
        .iter()
        .map(|indices| Training(images.select(indices)))
        .collect()
}

/// The indices of the images in each part of [`split`].
///
/// # Panics
/// When the parts are larger than the whole.
#[must_use]
pub fn shares(count: usize, parts: &[usize], seed: u64) -> Vec<Vec<usize>> {
    assert!(
        parts.iter().sum::<usize>() <= count,
        "the parts are larger than the whole"
    );
    let mut rest = Shuffle::new(seed).epoch(count);
    let mut result = Vec::with_capacity(parts.len() + 1);
    for &size in parts {
        let tail = rest.split_off(size);
        result.push(std::mem::replace(&mut rest, tail));
    }
    result.push(rest);
    result
}

/// Orders of the indices, one for each epoch, all from one seed.
pub struct Shuffle(ChaCha8Rng);

impl Shuffle {
    /// Starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The next order of `0..len`.
    #[must_use]
    pub fn epoch(&mut self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        order.shuffle(&mut self.0);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Images;

    #[test]
    fn parts_are_disjoint_complete_and_repeatable() {
        let mut images = Images::empty(1, 1);
        for label in 0..100 {
            images.push(&[0; 3], label);
        }
        let training = Training(images);
        let parts = split(&training, &[10, 20], 7);
        assert_eq!(parts.iter().map(|p| p.0.len()).collect::<Vec<_>>(), [10, 20, 70]);
        let mut all: Vec<u32> = parts.iter().flat_map(|p| p.0.labels.clone()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(split(&training, &[10, 20], 7), parts);
        assert_ne!(split(&training, &[10, 20], 8), parts);
    }
}
