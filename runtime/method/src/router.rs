//! A learned post-hoc router: from the main exit's softmax to the probability that the cloud is right where the edge is
//! wrong, by logistic regression (Narasimhan et al. 2022, "Post-hoc estimators for learning to defer to an expert").

use serde::Serialize;
use snafu::{ResultExt, Snafu, ensure};

use crate::score::Score;

/// Largest probabilities that the router sees.
const TOP: usize = 10;
/// What the router sees of a softmax: the ten largest probabilities, descending, entropy as a share of its largest value, and margin.
pub const FEATURES: usize = TOP + 2;
/// Largest weight taken, so that the sum stays a number.
pub const LARGEST: f64 = 1e6;
/// Penalty on squared weights of standardised features, in images.
const RIDGE: f64 = 1.0;
const MAX_STEPS: usize = 100;

/// A router: its weights say what each feature of a softmax counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Router {
    weights: [f64; FEATURES],
    bias: f64,
}

/// A router that cannot be.
#[derive(Debug, Clone, PartialEq, Snafu)]
#[snafu(display("failed to take the router: {field} is {value}; give a number in ±{LARGEST}"))]
pub struct RouterError {
    field: String,
    value: f64,
}

/// Why no router could be fitted.
#[derive(Debug, Clone, PartialEq, Snafu)]
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
    /// The images leave some weight next to undetermined.
    #[snafu(display("failed to fit a router: {source}; give more images"))]
    TooLarge {
        /// Which weight.
        source: RouterError,
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
    /// Of weights for [`FEATURES`] and what is added to their sum.
    pub fn new(weights: [f64; FEATURES], bias: f64) -> Result<Self, RouterError> {
        let named = weights
            .iter()
            .enumerate()
            .map(|(i, w)| (format!("weights[{i}]"), *w));
        for (field, value) in named.chain([("bias".to_owned(), bias)]) {
            ensure!(value.abs() <= LARGEST, RouterSnafu { field, value });
        }
        Ok(Self { weights, bias })
    }

    /// What each feature counts.
    #[must_use]
    pub fn weights(&self) -> &[f64; FEATURES] {
        &self.weights
    }

    /// What is added to that.
    #[must_use]
    pub fn bias(&self) -> f64 {
        self.bias
    }

    /// Fits by Newton's method to softmaxes of the main exit and whether sending the image gains a right answer. Use
    /// images that neither networks nor reports have: the router is judged on others.
    pub fn fit(rows: &[(Vec<f32>, bool)]) -> Result<Self, FitRouterError> {
        let (images, gains) = (rows.len(), rows.iter().filter(|row| row.1).count());
        ensure!(gains > 0 && gains < images, OneOutcomeSnafu { gains, images });
        let raw: Vec<[f64; FEATURES]> = rows.iter().map(|row| features(&row.0)).collect();
        let standard = Standard::of(&raw);
        let points: Vec<Point> = raw
            .iter()
            .zip(rows)
            .map(|(x, row)| (standard.point(x), f64::from(u8::from(row.1))))
            .collect();
        standard.router(&optimum(&points, gains as f64 / images as f64))
    }

    /// Probability that the cloud is right and the edge wrong, from the main exit's softmax `[classes]`; 0..=1.
    #[must_use]
    pub fn of(&self, p: &[f32]) -> f32 {
        let z: f64 = self
            .weights
            .iter()
            .zip(features(p))
            .map(|(w, x)| w * x)
            .sum::<f64>()
            + self.bias;
        sigmoid(z) as f32
    }
}

/// Standardised features and a 1 for the bias, and 1 where sending gains.
type Point = ([f64; FEATURES + 1], f64);

/// What features are measured by while they are fitted, so that the penalty treats them alike.
struct Standard {
    mean: [f64; FEATURES],
    /// Standard deviation; 1 where a feature does not vary.
    scale: [f64; FEATURES],
}

impl Standard {
    fn of(raw: &[[f64; FEATURES]]) -> Self {
        let n = raw.len() as f64;
        let mean: [f64; FEATURES] = std::array::from_fn(|i| raw.iter().map(|x| x[i]).sum::<f64>() / n);
        let scale = std::array::from_fn(|i| {
            let deviation = (raw.iter().map(|x| (x[i] - mean[i]).powi(2)).sum::<f64>() / n).sqrt();
            if deviation > 1e-9 { deviation } else { 1.0 }
        });
        Self { mean, scale }
    }

    fn point(&self, x: &[f64; FEATURES]) -> [f64; FEATURES + 1] {
        std::array::from_fn(|i| {
            if i < FEATURES {
                (x[i] - self.mean[i]) / self.scale[i]
            } else {
                1.0
            }
        })
    }

    /// The router of weights for standardised features, which takes features as they are.
    fn router(&self, theta: &[f64; FEATURES + 1]) -> Result<Router, FitRouterError> {
        let weights: [f64; FEATURES] = std::array::from_fn(|i| theta[i] / self.scale[i]);
        let shift: f64 = weights.iter().zip(&self.mean).map(|(w, mean)| w * mean).sum();
        Router::new(weights, theta[FEATURES] - shift).context(TooLargeSnafu)
    }
}

/// Weights and bias of least loss, begun with the bias that the `rate` of gains says.
fn optimum(points: &[Point], rate: f64) -> [f64; FEATURES + 1] {
    let mut theta = [0.0; FEATURES + 1];
    theta[FEATURES] = (rate / (1.0 - rate)).ln();
    let mut current = loss(points, &theta);
    for _ in 0..MAX_STEPS {
        let step = newton_step(points, &theta);
        // Halved until it descends, which it does for some length: the loss is convex.
        let next = (0..30).map(|halvings| 0.5_f64.powi(halvings)).find_map(|length| {
            let moved: [f64; FEATURES + 1] = std::array::from_fn(|i| theta[i] - length * step[i]);
            let reached = loss(points, &moved);
            (reached < current).then_some((moved, reached))
        });
        let Some((moved, reached)) = next else { break };
        let done = current - reached < 1e-10 * current;
        (theta, current) = (moved, reached);
        if done {
            break;
        }
    }
    theta
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

fn dot(a: &[f64; FEATURES + 1], b: &[f64; FEATURES + 1]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Negative log-likelihood and penalty.
fn loss(points: &[Point], theta: &[f64; FEATURES + 1]) -> f64 {
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
fn newton_step(points: &[Point], theta: &[f64; FEATURES + 1]) -> [f64; FEATURES + 1] {
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
