use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decay {
    /// Along half a cosine to zero.
    #[default]
    Cosine,
    /// To a tenth at one third, two thirds and eight ninths of the run, as in the paper (60, 120 and 160 of 180 epochs).
    Steps,
}

impl FromStr for Decay {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "cosine" => Ok(Self::Cosine),
            "steps" => Ok(Self::Steps),
            _ => Err(format!("{name} is no way down: cosine and steps are known")),
        }
    }
}

/// The learning rate over a run: up in a straight line during the warm-up, then down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    peak: f64,
    warm_up: f64,
    decay: Decay,
}

impl Schedule {
    /// `warm_up` is the share of the run spent climbing.
    pub(crate) fn new(peak: f64, warm_up: f64, decay: Decay) -> Self {
        Self {
            peak,
            warm_up: warm_up.clamp(0.0, 0.9),
            decay,
        }
    }

    /// The rate at `progress` in 0..=1 of the run.
    pub(crate) fn rate(&self, progress: f64) -> f64 {
        let progress = progress.clamp(0.0, 1.0);
        if progress < self.warm_up {
            return self.peak * (progress / self.warm_up).max(0.01);
        }
        match self.decay {
            Decay::Cosine => {
                let rest = (progress - self.warm_up) / (1.0 - self.warm_up);
                self.peak * 0.5 * (1.0 + (std::f64::consts::PI * rest).cos())
            }
            Decay::Steps => {
                let passed = [1.0 / 3.0, 2.0 / 3.0, 8.0 / 9.0]
                    .iter()
                    .filter(|at| progress >= **at);
                self.peak * 0.1_f64.powi(passed.count() as i32)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn climbs_to_the_peak_and_ends_at_zero() {
        let schedule = Schedule::new(0.4, 0.25, Decay::Cosine);
        assert!(schedule.rate(0.0) > 0.0);
        assert!((schedule.rate(0.25) - 0.4).abs() < 1e-9);
        assert!(schedule.rate(1.0).abs() < 1e-9);
        assert!(schedule.rate(0.5) > schedule.rate(0.75));
    }

    #[test]
    fn steps_fall_by_tenths_where_the_paper_has_them() {
        let schedule = Schedule::new(0.1, 0.0, Decay::Steps);
        for (epoch, rate) in [
            (0, 0.1),
            (59, 0.1),
            (60, 0.01),
            (120, 1e-3),
            (160, 1e-4),
            (179, 1e-4),
        ] {
            assert!(
                (schedule.rate(f64::from(epoch) / 180.0) - rate).abs() < 1e-12,
                "{epoch}"
            );
        }
    }
}
