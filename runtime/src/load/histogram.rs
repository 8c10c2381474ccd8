use std::time::Duration;

/// Buckets: each is 1 % wider than the one before, from one microsecond to two hours.
const BUCKETS: usize = 2300;
const GROWTH: f64 = 1.01;

/// Latencies in bounded memory; quantiles are within 1 %.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }
}

impl Histogram {
    pub(super) fn record(&mut self, took: Duration) {
        let micros = (took.as_secs_f64() * 1e6).max(1.0);
        let bucket = ((micros.ln() / GROWTH.ln()) as usize).min(BUCKETS - 1);
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// The latency in milliseconds that a share `q` stays within; `None` without any.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        let rank = ((self.total as f64 * q).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|&count| {
            seen += count;
            seen >= rank
        })?;
        let millis = GROWTH.powf(bucket as f64 + 0.5) / 1e3;
        Some((millis * 1e3).round() / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_hundredth() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        for (q, expected) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.quantile(q).unwrap();
            assert!((found / expected - 1.0).abs() < 0.011, "{q}: {found}");
        }
        histogram.record(Duration::ZERO);
        histogram.record(Duration::from_secs(1 << 40));
    }
}
