//! Risk control with a finite-sample guarantee: learn then test (Angelopoulos et al. 2021, arXiv 2110.01052), as early
//! exits use it (Jazbec et al. 2024, arXiv 2405.20915).
//!
//! For each threshold of a fixed ladder stands the hypothesis "its risk is above the limit". Its p-value is the binomial
//! tail `P(Bin(n, limit) ≤ errors)`, which is at most δ exactly where the upper bound of Clopper and Pearson (1934) is at
//! most the limit. The ladder is climbed from below until a hypothesis stands (fixed-sequence testing), so the chance that
//! any rejected one is true is at most δ, whatever the networks and however few the images. Images must be exchangeable
//! with those to come; after a shift nothing is guaranteed.

use snafu::{OptionExt, ensure};

use super::{Choice, ChooseError, Point, RangeSnafu, RiskSnafu, Tally, at, check, curve};
use crate::binomial::at_most;
use crate::judge::Judged;
use crate::outputs::share;

/// Steps of the ladder over the score's range. Neither it nor its starts may depend on the images.
const STEPS: usize = 400;

/// Which errors count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Risk {
    /// Wrong answers, of all answers.
    Wrong,
    /// Wrong answers, of those given at the edge.
    WrongAtEdge,
    /// Wrong answers at the edge where the cloud would have been right, of all answers: what routing loses.
    Missed,
}

/// A limit and how surely it has to hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RiskBound {
    /// Which errors.
    pub risk: Risk,
    /// Their share may be this, in 0..1.
    pub at_most: f64,
    /// Probability that the limit holds, over the draw of the images, in 0..1.
    pub confidence: f64,
}

impl Risk {
    /// Errors and those that could be errors.
    #[must_use]
    pub fn count(self, tally: &Tally) -> (usize, usize) {
        match self {
            Self::Wrong => (tally.images - tally.right(), tally.images),
            Self::WrongAtEdge => {
                let exits = [crate::Exit::Main, crate::Exit::Extension].map(|exit| tally.exit(exit));
                let answered: usize = exits.iter().map(|e| e.images).sum();
                (answered - exits.iter().map(|e| e.right).sum::<usize>(), answered)
            }
            Self::Missed => (tally.missed, tally.images),
        }
    }

    /// Places on the ladder where climbing begins; they share δ. Where nothing is answered at the edge nothing is known of
    /// its errors, so that for [`Risk::WrongAtEdge`] a single climb from 0 would end where it begins.
    const fn starts(self) -> usize {
        match self {
            Self::Wrong | Self::Missed => 1,
            Self::WrongAtEdge => 8,
        }
    }
}

/// The largest threshold of the ladder over `0..=range`, the score's range, whose risk is shown to be within `bound`.
pub fn by_risk(
    judged: &[Judged],
    extension_offload_above: Option<f32>,
    range: f32,
    bound: RiskBound,
) -> Result<Choice, ChooseError> {
    check(judged)?;
    for (field, value) in [
        ("the largest risk", bound.at_most),
        ("the confidence", bound.confidence),
    ] {
        ensure!(
            value > 0.0 && value < 1.0,
            RangeSnafu {
                field,
                value,
                range: "between 0 and 1"
            }
        );
    }
    let points = curve(judged, extension_offload_above);
    let ladder: Vec<f32> = (0..=STEPS)
        .map(|step| range * step as f32 / STEPS as f32)
        .collect();
    let tallies: Vec<Tally> = ladder
        .iter()
        .filter_map(|&t| at(&points, t))
        .map(|point: &Point| point.tally)
        .collect();
    let starts = bound.risk.starts();
    let delta = (1.0 - bound.confidence) / starts as f64;
    let safe = |tally: &Tally| {
        let (errors, of) = bound.risk.count(tally);
        at_most(errors, of, bound.at_most) <= delta
    };
    let climb = |start: usize| {
        let from = start * tallies.len() / starts;
        let climbed = tallies[from..].iter().take_while(|tally| safe(tally)).count();
        (climbed > 0).then(|| from + climbed - 1)
    };
    let least = tallies
        .iter()
        .map(|tally| bound.risk.count(tally))
        .filter(|(_, of)| *of > 0)
        .map(|(errors, of)| share(errors, of))
        .fold(1.0, f64::min);
    let highest = (0..starts).filter_map(climb).max().context(RiskSnafu {
        at_most: bound.at_most,
        confidence: bound.confidence,
        images: judged.len(),
        least,
    })?;
    Ok(Choice {
        offload_above: ladder[highest],
        extension_offload_above,
        tally: tallies[highest],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Exit;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Scores uniform in 0..1; the edge is wrong with probability u² at score u, the cloud always right. So at threshold t
    /// the misses, and the wrong answers, are t³/3 of all, and t²/3 of those answered at the edge.
    fn draw(images: usize, random: &mut ChaCha8Rng) -> Vec<Judged> {
        (0..images)
            .map(|_| {
                let score: f32 = random.random();
                let edge_right = !random.random_bool(f64::from(score * score));
                Judged {
                    main_score: score,
                    extension_score: None,
                    main_right: edge_right,
                    edge_exit: Exit::Main,
                    edge_right,
                    cloud_right: Some(true),
                }
            })
            .collect()
    }

    fn truth(risk: Risk, threshold: f64) -> f64 {
        match risk {
            Risk::Wrong | Risk::Missed => threshold.powi(3) / 3.0,
            Risk::WrongAtEdge => threshold.powi(2) / 3.0,
        }
    }

    /// Share of draws whose threshold breaks the limit, and mean share of the images kept at the edge.
    fn simulate(risk: Risk, pick: impl Fn(&[Judged]) -> Option<f32>, at_most: f64) -> (f64, f64) {
        const DRAWS: u32 = 2000;
        let mut random = ChaCha8Rng::seed_from_u64(17);
        let (mut broken, mut kept) = (0, 0.0);
        for _ in 0..DRAWS {
            if let Some(threshold) = pick(&draw(400, &mut random)) {
                broken += u32::from(truth(risk, f64::from(threshold)) > at_most);
                kept += f64::from(threshold);
            }
        }
        (f64::from(broken) / f64::from(DRAWS), kept / f64::from(DRAWS))
    }

    #[test]
    fn the_guarantee_holds_as_often_as_it_says_and_is_not_bought_by_sending_all() {
        for (risk, at_most, at_least_kept) in [
            (Risk::Missed, 0.05, 0.4),
            (Risk::Wrong, 0.05, 0.4),
            (Risk::WrongAtEdge, 0.1, 0.3),
        ] {
            let bound = RiskBound {
                risk,
                at_most,
                confidence: 0.9,
            };
            let (broken, kept) = simulate(
                risk,
                |j| by_risk(j, None, 1.0, bound).ok().map(|c| c.offload_above),
                at_most,
            );
            // 0.1, and three standard errors of 2,000 draws.
            assert!(
                broken <= 0.1 + 3.0 * (0.09_f64 / 2000.0).sqrt(),
                "{risk:?}: broken in {broken}"
            );
            assert!(kept >= at_least_kept, "{risk:?}: {kept} kept");
        }
    }

    #[test]
    fn taking_the_figures_at_their_word_breaks_the_limit_far_more_often() {
        let naive = |judged: &[Judged]| {
            let points = curve(judged, None);
            points
                .iter()
                .rev()
                .find(|p| p.tally.missed as f64 <= 0.05 * 400.0)
                .map(|p| p.offload_above)
        };
        let (broken, _) = simulate(Risk::Missed, naive, 0.05);
        assert!(broken > 0.3, "{broken}");
    }

    #[test]
    fn too_few_images_guarantee_nothing_and_the_error_says_so() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let bound = RiskBound {
            risk: Risk::Missed,
            at_most: 0.05,
            confidence: 0.95,
        };
        assert!(by_risk(&draw(58, &mut random), None, 1.0, bound).is_err());
        // With 59 images and no error at the lowest threshold, see the tail of the binomial distribution.
        assert!(by_risk(&draw(59, &mut random), None, 1.0, bound).is_ok());
        let error = by_risk(&draw(58, &mut random), None, 1.0, bound)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("58 images") && error.contains("more images"),
            "{error}"
        );
        let never = RiskBound {
            confidence: 1.0,
            ..bound
        };
        assert!(
            by_risk(&draw(9, &mut random), None, 1.0, never)
                .unwrap_err()
                .to_string()
                .contains("between 0 and 1")
        );
    }
}
