//! A learned post-hoc router: from the main exit's softmax to the probability that the cloud is right where the edge is
//! wrong, by logistic regression (Narasimhan et al. 2022, "Post-hoc estimators for learning to defer to an expert").

use serde::{Deserialize, Serialize};
use snafu::{Snafu, ensure};

use crate::score::Score;

/// Largest probabilities that the router sees.
const TOP: usize = 10;
/// These, entropy and margin.
const FEATURES: usize = TOP + 2;
/// Penalty on squared weights of standardised features, in images.
const RIDGE: f64 = 1.0;
const MAX_STEPS: usize = 100;

/// Weights of a fitted router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Router {
    /// Mean of each feature where it was fitted.
    mean: [f64; FEATURES],
    /// Standard deviation of each feature there; 1 where it did not vary.
    scale: [f64; FEATURES],
    /// Of the standardised features.
    weights: [f64; FEATURES],
    bias: f64,
}

/// Why no router could be fitted.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum FitRouterError {
    /// Every image says the same, or there is none.
    #[snafu(display(
        "failed to fit a router: the cloud mends {gains} of {images} images, which leaves nothing to tell apart; give more images"
    ))]
    OneOutcome {
        /// Images that the cloud gets right and the edge wrong.
        gains: usize,
        /// All images.
        images: usize,
    },
}

/// `[classes]` → the largest probabilities descending, entropy as a share of its largest value, and margin.
fn features(p: &[f32]) -> [f64; FEATURES] {
    let mut sorted = p.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let mut features = [0.0; FEATURES];
    for (feature, &value) in features.iter_mut().zip(sorted.iter().take(TOP)) {
        *feature = f64::from(value);
    }
    features[TOP] = f64::from(Score::Entropy.of(p) / Score::Entropy.range(p.len()));
    features[TOP + 1] = f64::from(Score::Margin.of(p));
    features
}

impl Router {
    /// Fits by Newton's method to softmaxes of the main exit and whether sending the image gains a right answer. Use
    /// images that neither networks nor reports have: the router is judged on others.
    pub fn fit(rows: &[(Vec<f32>, bool)]) -> Result<Self, FitRouterError> {
        let (images, gains) = (rows.len(), rows.iter().filter(|row| row.1).count());
        ensure!(gains > 0 && gains < images, OneOutcomeSnafu { gains, images });
        let raw: Vec<[f64; FEATURES]> = rows.iter().map(|row| features(&row.0)).collect();
        let mut router = Self::standardising(&raw);
        let points: Vec<([f64; FEATURES + 1], f64)> = raw
            .iter()
            .zip(rows)
            .map(|(x, row)| (router.point(x), f64::from(u8::from(row.1))))
            .collect();
        let rate = gains as f64 / images as f64;
        let mut theta = [0.0; FEATURES + 1];
        theta[FEATURES] = (rate / (1.0 - rate)).ln();
        let mut current = loss(&points, &theta);
        for _ in 0..MAX_STEPS {
            let step = newton_step(&points, &theta);
            // Halved until it descends, which it does for some length: the loss is convex.
            let next = (0..30).map(|halvings| 0.5_f64.powi(halvings)).find_map(|length| {
                let moved: [f64; FEATURES + 1] = std::array::from_fn(|i| theta[i] - length * step[i]);
                let reached = loss(&points, &moved);
                (reached < current).then_some((moved, reached))
            });
            let Some((moved, reached)) = next else { break };
            let done = current - reached < 1e-10 * current;
            (theta, current) = (moved, reached);
            if done {
                break;
            }
        }
        router.weights.copy_from_slice(&theta[..FEATURES]);
        router.bias = theta[FEATURES];
        Ok(router)
    }

    /// Probability that the cloud is right and the edge wrong, from the main exit's softmax `[classes]`; 0..=1.
    #[must_use]
    pub fn of(&self, p: &[f32]) -> f32 {
        let point = self.point(&features(p));
        let z: f64 = self.weights.iter().zip(&point).map(|(w, x)| w * x).sum::<f64>() + self.bias;
        sigmoid(z) as f32
    }

    fn standardising(raw: &[[f64; FEATURES]]) -> Self {
        let n = raw.len() as f64;
        let mean: [f64; FEATURES] = std::array::from_fn(|i| raw.iter().map(|x| x[i]).sum::<f64>() / n);
        let scale = std::array::from_fn(|i| {
            let deviation = (raw.iter().map(|x| (x[i] - mean[i]).powi(2)).sum::<f64>() / n).sqrt();
            if deviation > 1e-9 { deviation } else { 1.0 }
        });
        Self {
            mean,
            scale,
            weights: [0.0; FEATURES],
            bias: 0.0,
        }
    }

    /// Standardised features and a 1 for the bias.
    fn point(&self, x: &[f64; FEATURES]) -> [f64; FEATURES + 1] {
        std::array::from_fn(|i| {
            if i < FEATURES {
                (x[i] - self.mean[i]) / self.scale[i]
            } else {
                1.0
            }
        })
    }
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

fn dot(a: &[f64; FEATURES + 1], b: &[f64; FEATURES + 1]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Negative log-likelihood and penalty.
fn loss(points: &[([f64; FEATURES + 1], f64)], theta: &[f64; FEATURES + 1]) -> f64 {
    let data: f64 = points
        .iter()
        .map(|(x, y)| {
            let z = dot(x, theta);
            z.max(0.0) + (-z.abs()).exp().ln_1p() - y * z
        })
        .sum();
    data + 0.5 * RIDGE * theta[..FEATURES].iter().map(|w| w * w).sum::<f64>()
}

/// Inverse Hessian times gradient. The penalty, and a trace on the bias, keep the Hessian positive definite.
fn newton_step(points: &[([f64; FEATURES + 1], f64)], theta: &[f64; FEATURES + 1]) -> [f64; FEATURES + 1] {
    let mut hessian = [[0.0; FEATURES + 1]; FEATURES + 1];
    let mut gradient = [0.0; FEATURES + 1];
    for (i, row) in hessian.iter_mut().enumerate() {
        row[i] = if i < FEATURES { RIDGE } else { 1e-9 };
        gradient[i] = if i < FEATURES { RIDGE * theta[i] } else { 0.0 };
    }
    for (x, y) in points {
        let p = sigmoid(dot(x, theta));
        let curvature = p * (1.0 - p);
        for i in 0..=FEATURES {
            gradient[i] += (p - y) * x[i];
            for j in 0..=i {
                hessian[i][j] += curvature * x[i] * x[j];
            }
        }
    }
    solve(hessian, gradient)
}

/// Solves `a x = b` for a symmetric positive definite `a`, given by its lower triangle, by Cholesky's decomposition.
fn solve(mut a: [[f64; FEATURES + 1]; FEATURES + 1], mut b: [f64; FEATURES + 1]) -> [f64; FEATURES + 1] {
    for j in 0..=FEATURES {
        for i in j..=FEATURES {
            let known: f64 = (0..j).map(|k| a[i][k] * a[j][k]).sum();
            a[i][j] = if i == j {
                (a[i][j] - known).max(1e-12).sqrt()
            } else {
                (a[i][j] - known) / a[j][j]
            };
        }
    }
    for i in 0..=FEATURES {
        let known: f64 = (0..i).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    for i in (0..=FEATURES).rev() {
        let known: f64 = (i + 1..=FEATURES).map(|k| a[k][i] * b[k]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    b
}

#[cfg(test)]
mod tests;
