use crate::evaluate::top;

/// The classes that the main block predicts least precisely: the worst `share` of them, ascending, ranked on held-out
/// logits `[n][classes]` (Long et al. 2021, §III). Precision is taken towards the mean precision by one pseudo-image, so that
/// a class predicted once or never is ranked near the middle, not at an end by accident.
#[must_use]
pub fn select_hard_classes(logits: &[Vec<f32>], labels: &[u32], classes: usize, share: f64) -> Vec<u32> {
    let mut predicted = vec![0_usize; classes];
    let mut right = vec![0_usize; classes];
    for (row, &label) in logits.iter().zip(labels) {
        let class = top(row);
        predicted[class] += 1;
        right[class] += usize::from(class == label as usize);
    }
    let mean = right.iter().sum::<usize>() as f64 / labels.len().max(1) as f64;
    let mut ranked: Vec<(f64, u32)> = (0..classes)
        .map(|c| ((right[c] as f64 + mean) / (predicted[c] as f64 + 1.0), c as u32))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let count = ((classes as f64 * share.clamp(0.0, 1.0)).round() as usize).clamp(1, classes.max(1));
    let mut hard: Vec<u32> = ranked.into_iter().take(count).map(|(_, class)| class).collect();
    hard.sort_unstable();
    hard
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_hot(class: usize) -> Vec<f32> {
        (0..4).map(|c| if c == class { 1.0 } else { 0.0 }).collect()
    }

    #[test]
    fn imprecise_classes_are_hard_and_absent_ones_are_not_extreme() {
        // Class 0 is always right, 1 right half of the time, 2 never, 3 is never predicted.
        let logits: Vec<_> = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2].map(one_hot).to_vec();
        let labels = [0, 0, 0, 0, 1, 1, 0, 0, 3, 3, 3, 3];
        assert_eq!(select_hard_classes(&logits, &labels, 4, 0.5), [1, 2]);
        assert_eq!(select_hard_classes(&logits, &labels, 4, 0.25), [2]);
        assert_eq!(select_hard_classes(&logits, &labels, 4, 1.0), [0, 1, 2, 3]);
    }

    #[test]
    fn nothing_to_rank_still_gives_the_share() {
        assert_eq!(select_hard_classes(&[], &[], 4, 0.5).len(), 2);
    }
}
