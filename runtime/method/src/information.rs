//! How much answers tell images apart, which can be known without any label.

/// What the answer to each image says, in nats: the divergence of its probabilities from those of all images on average. The mean is the
/// mutual information of image and answer (Bridle et al. 1991). Of networks that see input unlike what they were trained on, the better one tells
/// more: a worse one is unsure, or says the same of all images.
#[must_use]
pub fn information(probabilities: &[Vec<f32>]) -> Vec<f64> {
    let classes = probabilities.first().map_or(0, Vec::len);
    let mut usual = vec![0.0; classes];
    for row in probabilities {
        for (sum, p) in usual.iter_mut().zip(row) {
            *sum += f64::from(*p) / probabilities.len() as f64;
        }
    }
    let said = |row: &Vec<f32>| {
        let pairs = row.iter().zip(&usual).filter(|(p, _)| **p > 0.0);
        pairs
            .map(|(&p, usual)| f64::from(p) * (f64::from(p) / usual).ln())
            .sum()
    };
    probabilities.iter().map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mean(rows: &[Vec<f32>]) -> f64 {
        information(rows).iter().sum::<f64>() / rows.len() as f64
    }

    #[test]
    fn sure_and_various_answers_tell_most() {
        let sure = |class: usize| {
            (0..4)
                .map(|c| f32::from(u8::from(c == class)))
                .collect::<Vec<_>>()
        };
        let various: Vec<_> = (0..8).map(|image| sure(image % 4)).collect();
        assert!((mean(&various) - 4.0_f64.ln()).abs() < 1e-9);
        let collapsed = vec![sure(2); 8];
        assert!(mean(&collapsed).abs() < 1e-9, "the same of all images");
        let unsure = vec![vec![0.25; 4]; 8];
        assert!(mean(&unsure).abs() < 1e-9);
        assert!(information(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn no_answer_tells_less_than_nothing(raw in proptest::collection::vec(proptest::collection::vec(0.0_f32..8.0, 5), 1..20)) {
            let rows: Vec<_> = raw.iter().map(|logits| crate::softmax(logits).unwrap()).collect();
            prop_assert!(information(&rows).iter().all(|nats| *nats > -1e-5 && nats.is_finite()));
        }
    }
}
