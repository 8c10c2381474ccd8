//! How surely a figure is known that was counted on some images: 95 % intervals for shares and for differences of shares.

use serde::{Deserialize, Serialize};

/// Of the normal distribution, two-sided.
const Z: f64 = 1.959_963_984_540_054;

/// A share of right answers, with the 95 % interval of Wilson (1927): it holds near 0 and 1, and for few images, too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proportion {
    /// Images counted.
    pub images: usize,
    /// Share of right answers, 0..=1; 0 of nothing.
    pub share: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Proportion {
    /// `right` of `images`, which may be a mean of several counts.
    #[must_use]
    pub fn new(right: f64, images: usize) -> Self {
        if images == 0 {
            return Self {
                images,
                share: 0.0,
                low: 0.0,
                high: 1.0,
            };
        }
        let n = images as f64;
        let share = right / n;
        let (middle, scale) = (share + Z * Z / (2.0 * n), 1.0 + Z * Z / n);
        let reach = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        Self {
            images,
            share,
            low: ((middle - reach) / scale).max(0.0),
            high: ((middle + reach) / scale).min(1.0),
        }
    }

    /// Of `answers`, true where right.
    #[must_use]
    pub fn of(answers: &[bool]) -> Self {
        Self::new(
            answers.iter().filter(|right| **right).count() as f64,
            answers.len(),
        )
    }

    /// Half the width of the interval.
    #[must_use]
    pub fn reach(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// How two ways to answer the same images differ, with the 95 % interval of the difference. Images that both get right, or
/// both wrong, say nothing about it, so it is known better than either share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Wrong before, right after.
    pub mended: usize,
    /// Right before, wrong after.
    pub spoiled: usize,
    /// Share of right answers after less that before, -1..=1.
    pub share: f64,
    /// Half the width of its interval, by the normal approximation for paired samples.
    pub reach: f64,
}

impl Difference {
    /// Both are of the same images in the same order, true where right.
    #[must_use]
    pub fn between(before: &[bool], after: &[bool]) -> Self {
        let count = |was: bool| {
            let pairs = before.iter().zip(after);
            pairs.filter(|(old, new)| **old == was && **new != was).count()
        };
        let (mended, spoiled) = (count(false), count(true));
        let n = before.len().min(after.len()).max(1) as f64;
        let (gained, lost) = (mended as f64 / n, spoiled as f64 / n);
        let share = gained - lost;
        Self {
            mended,
            spoiled,
            share,
            reach: Z * ((gained + lost - share * share).max(0.0) / n).sqrt(),
        }
    }

    /// Whether the interval lies above 0 as a whole.
    #[must_use]
    pub fn is_gain(&self) -> bool {
        self.share > self.reach
    }

    /// Whether the interval reaches below 0.
    #[must_use]
    pub fn may_be_loss(&self) -> bool {
        self.share < self.reach
    }

    /// Whether the interval lies below 0 as a whole.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        -self.share > self.reach
    }
}

/// Whether values of the same images, in the same order, are larger `after` than `before` on average, beyond chance.
#[must_use]
pub fn grows(before: &[f64], after: &[f64]) -> bool {
    let changes: Vec<f64> = before.iter().zip(after).map(|(old, new)| new - old).collect();
    let n = changes.len().max(1) as f64;
    let mean = changes.iter().sum::<f64>() / n;
    let squares: f64 = changes.iter().map(|change| (change - mean).powi(2)).sum();
    mean > Z * squares.sqrt() / n
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_intervals() {
        // Newcombe 1998, table I: 81 of 263 and 0 of 20.
        let some = Proportion::new(81.0, 263);
        assert!(
            (some.low - 0.2553).abs() < 5e-5 && (some.high - 0.3662).abs() < 5e-5,
            "{some:?}"
        );
        let none = Proportion::new(0.0, 20);
        assert!(
            none.low.abs() < 1e-9 && (none.high - 0.1611).abs() < 5e-5,
            "{none:?}"
        );
        let nothing = Proportion::of(&[]);
        assert!(nothing.low <= 0.0 && nothing.high >= 1.0);
    }

    #[test]
    fn only_images_that_differ_count() {
        let before = [true, true, false, false];
        let after = [true, false, true, false];
        let even = Difference::between(&before, &after);
        assert_eq!((even.mended, even.spoiled), (1, 1));
        assert!(even.share.abs() < 1e-12 && !even.is_gain() && !even.is_loss());
        let same = Difference::between(&before, &before);
        assert!(same.reach.abs() < 1e-12 && !same.is_gain());
        let (worse, better) = (vec![false; 400], [vec![true; 40], vec![false; 360]].concat());
        assert!(Difference::between(&worse, &better).is_gain());
        assert!(Difference::between(&better, &worse).is_loss());
    }

    #[test]
    fn values_grow_where_it_is_no_chance() {
        let before = [1.0; 100];
        let after = |up: usize| {
            (0..100)
                .map(|i| if i < up { 2.0 } else { 0.0 })
                .collect::<Vec<_>>()
        };
        assert!(grows(&before, &after(65)) && !grows(&before, &after(55)) && !grows(&before, &after(35)));
        assert!(!grows(&before, &before) && !grows(&[], &[]));
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_share_and_shrinks_with_more_images(right in 0_usize..=50, more in 2_usize..20) {
            let few = Proportion::new(right as f64, 50);
            let many = Proportion::new((right * more) as f64, 50 * more);
            prop_assert!(few.low <= few.share + 1e-12 && few.share <= few.high + 1e-12);
            prop_assert!(few.low >= 0.0 && few.high <= 1.0);
            prop_assert!(many.reach() < few.reach());
        }

        #[test]
        fn the_difference_is_that_of_the_shares(pairs in proptest::collection::vec(any::<(bool, bool)>(), 1..80)) {
            let (before, after): (Vec<bool>, Vec<bool>) = pairs.into_iter().unzip();
            let difference = Difference::between(&before, &after);
            let shares = Proportion::of(&after).share - Proportion::of(&before).share;
            prop_assert!((difference.share - shares).abs() < 1e-9);
        }
    }
}
