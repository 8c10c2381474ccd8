/// The learning rate over a run: up in a straight line during the warm-up, down along half a cosine to zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    peak: f64,
    warm_up: f64,
}

impl Schedule {
    /// `warm_up` is the share of the run spent climbing.
    pub(crate) fn new(peak: f64, warm_up: f64) -> Self {
        Self {
            peak,
            warm_up: warm_up.clamp(0.0, 0.9),
        }
    }

    /// The rate at `progress` in 0..=1 of the run.
    pub(crate) fn rate(&self, progress: f64) -> f64 {
        let progress = progress.clamp(0.0, 1.0);
        if progress < self.warm_up {
            self.peak * (progress / self.warm_up).max(0.01)
        } else {
            let rest = (progress - self.warm_up) / (1.0 - self.warm_up);
            self.peak * 0.5 * (1.0 + (std::f64::consts::PI * rest).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn climbs_to_the_peak_and_ends_at_zero() {
        let schedule = Schedule::new(0.4, 0.25);
        assert!(schedule.rate(0.0) > 0.0);
        assert!((schedule.rate(0.25) - 0.4).abs() < 1e-9);
        assert!(schedule.rate(1.0).abs() < 1e-9);
        assert!(schedule.rate(0.5) > schedule.rate(0.75));
    }
}
