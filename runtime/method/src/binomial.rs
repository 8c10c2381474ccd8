//! The lower tail of the binomial distribution, exactly.

/// `P(Bin(n, p) ≤ k)`, for `p` in 0..=1. Summed from the largest term down, in logarithms where terms would vanish.
pub(crate) fn at_most(k: usize, n: usize, p: f64) -> f64 {
    if k >= n || p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    // Beyond the mean the upper tail is the short one.
    if k as f64 > n as f64 * p {
        1.0 - lower_tail(n - k - 1, n, 1.0 - p)
    } else {
        lower_tail(k, n, p)
    }
}

/// `P(Bin(n, p) ≤ k)` for `k` at or below the mean: terms fall from `k` down, so the sum stops when they no longer count.
fn lower_tail(k: usize, n: usize, p: f64) -> f64 {
    let odds = (1.0 - p) / p;
    let (mut term, mut sum) = (1.0, 1.0);
    for i in (1..=k).rev() {
        term *= i as f64 / (n - i + 1) as f64 * odds;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    (log_choose(n, k) + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p() + f64::ln(sum))
        .exp()
        .min(1.0)
}

fn log_choose(n: usize, k: usize) -> f64 {
    log_factorial(n) - log_factorial(k) - log_factorial(n - k)
}

/// `ln n!`: summed for small `n`, by Stirling's series from there on, where its error is below 1e-12.
fn log_factorial(n: usize) -> f64 {
    if n < 32 {
        return (2..=n).map(|i| (i as f64).ln()).sum();
    }
    let x = n as f64;
    x * x.ln() - x + 0.5 * (std::f64::consts::TAU * x).ln() + 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3))
        + 1.0 / (1260.0 * x.powi(5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By the recursion of Pascal's triangle on probabilities: slow, and without logarithms.
    fn slowly(k: usize, n: usize, p: f64) -> f64 {
        let mut row = vec![1.0];
        for _ in 0..n {
            let mut next = vec![0.0; row.len() + 1];
            for (i, v) in row.iter().enumerate() {
                next[i] += v * (1.0 - p);
                next[i + 1] += v * p;
            }
            row = next;
        }
        row.iter().take(k + 1).sum()
    }

    #[test]
    fn known_values() {
        assert!((at_most(0, 10, 0.5) - 1.0 / 1024.0).abs() < 1e-12);
        assert!((at_most(5, 10, 0.5) - 0.623_046_875).abs() < 1e-12);
        assert!((at_most(10, 10, 0.1) - 1.0).abs() < 1e-12);
        // No error in 59 images shows a risk of at most 5 % with 95 % confidence; 58 images do not.
        assert!(at_most(0, 59, 0.05) <= 0.05 && at_most(0, 58, 0.05) > 0.05);
        assert!(at_most(1, 0, 0.3) >= 1.0, "nothing seen shows nothing");
    }

    proptest! {
        #[test]
        fn it_is_the_sum_of_the_terms(n in 1_usize..300, k in 0_usize..300, p in 0.001_f64..0.999) {
            let k = k.min(n);
            prop_assert!((at_most(k, n, p) - slowly(k, n, p)).abs() < 1e-9);
        }
    }
}
