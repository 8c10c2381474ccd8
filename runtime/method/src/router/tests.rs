use super::*;
use crate::ranking::auroc;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Softmaxes of three classes; sending gains where the *second* probability is large and the third is small, which no
/// single score of the softmax says.
fn world(images: usize, seed: u64) -> Vec<(Vec<f32>, bool)> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..images)
        .map(|_| {
            let mut p: Vec<f32> = (0..3).map(|_| random.random_range(0.01..1.0_f32)).collect();
            let sum: f32 = p.iter().sum();
            for v in &mut p {
                *v /= sum;
            }
            let mut sorted = p.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let chance = sigmoid(20.0 * f64::from(sorted[1] - sorted[2]) - 4.0);
            (p, random.random_bool(chance))
        })
        .collect()
}

#[test]
fn it_learns_what_scores_do_not_say_and_keeps_it_on_fresh_images() {
    let router = Router::fit(&world(2000, 1)).unwrap();
    let fresh = world(2000, 2);
    let area = |score: &dyn Fn(&[f32]) -> f32| {
        auroc(
            &fresh
                .iter()
                .map(|(p, gains)| (score(p), *gains))
                .collect::<Vec<_>>(),
        )
        .unwrap()
    };
    let learned = area(&|p| router.of(p));
    let entropy = area(&|p| Score::Entropy.of(p));
    assert!(
        learned > 0.85 && learned > entropy + 0.2,
        "{learned} against {entropy}"
    );
    // Its numbers are probabilities: the mean is the rate.
    let mean = fresh.iter().map(|(p, _)| f64::from(router.of(p))).sum::<f64>() / 2000.0;
    let rate = fresh.iter().filter(|row| row.1).count() as f64 / 2000.0;
    assert!((mean - rate).abs() < 0.03, "{mean} against {rate}");
}

#[test]
fn the_fit_is_an_optimum() {
    let rows = world(300, 3);
    let raw: Vec<_> = rows.iter().map(|(p, _)| features(p)).collect();
    let standard = Standard::of(&raw);
    let points: Vec<Point> = raw
        .iter()
        .zip(&rows)
        .map(|(x, (_, gains))| (standard.point(x), f64::from(u8::from(*gains))))
        .collect();
    let theta = optimum(&points, 0.5);
    let best = loss(&points, &theta);
    for i in 0..=FEATURES {
        for nudge in [-0.05, 0.05] {
            let mut other = theta;
            other[i] += nudge;
            assert!(loss(&points, &other) > best, "feature {i}");
        }
    }
    // And the router says what these say.
    let router = standard.router(&theta).unwrap();
    for ((p, _), (point, _)) in rows.iter().zip(&points) {
        assert!((f64::from(router.of(p)) - sigmoid(dot(point, &theta))).abs() < 1e-6);
    }
}

#[test]
fn one_outcome_teaches_nothing() {
    let rows = vec![(vec![0.5, 0.5], false); 4];
    assert!(Router::fit(&rows).unwrap_err().to_string().contains("0 of 4"));
    assert!(Router::fit(&[]).is_err());
}

#[test]
fn weights_that_could_sum_to_no_number_are_refused_by_name() {
    let largest = [LARGEST; FEATURES];
    let router = Router::new(largest, -LARGEST).unwrap();
    assert!((0.0..=1.0).contains(&router.of(&[1.0, 0.0])));
    for wrong in [f64::NAN, f64::INFINITY, -1.1e6] {
        let mut weights = largest;
        weights[3] = wrong;
        let error = Router::new(weights, 0.0).unwrap_err().to_string();
        assert!(error.contains("weights[3]"), "{error}");
        let error = Router::new(largest, wrong).unwrap_err().to_string();
        assert!(error.contains("bias"), "{error}");
    }
}
