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
    let router = Router::fit(&rows).unwrap();
    let points: Vec<_> = rows
        .iter()
        .map(|(p, gains)| (router.point(&features(p)), f64::from(u8::from(*gains))))
        .collect();
    let mut theta = [0.0; FEATURES + 1];
    theta[..FEATURES].copy_from_slice(&router.weights);
    theta[FEATURES] = router.bias;
    let best = loss(&points, &theta);
    for i in 0..=FEATURES {
        for nudge in [-0.05, 0.05] {
            let mut other = theta;
            other[i] += nudge;
            assert!(loss(&points, &other) > best, "feature {i}");
        }
    }
}

#[test]
fn one_outcome_teaches_nothing() {
    let rows = vec![(vec![0.5, 0.5], false); 4];
    assert!(Router::fit(&rows).unwrap_err().to_string().contains("0 of 4"));
    assert!(Router::fit(&[]).is_err());
}

#[test]
fn it_survives_being_written_and_refuses_what_it_does_not_know() {
    let router = Router::fit(&world(200, 4)).unwrap();
    let text = serde_json::to_string(&router).unwrap();
    let read: Router = serde_json::from_str(&text).unwrap();
    let p = [0.5, 0.3, 0.2];
    assert!((read.of(&p) - router.of(&p)).abs() < 1e-6);
    assert!(serde_json::from_str::<Router>(&text.replace("bias", "boas")).is_err());
}
