//! What a network is to make small.

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Tensor, TensorData};

/// Mean cross-entropy of `logits` `[n, classes]` to probabilities `[n, classes]`.
pub(super) fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    -(log_softmax(logits, 1) * targets).sum_dim(1).mean()
}

/// Kullback–Leibler divergence from the teacher's probabilities to the student's, both at `temperature`, times its square,
/// which keeps gradients as large as those of the labels (Hinton et al. 2015). `teacher` has no gradients.
pub(super) fn divergence(student: Tensor<2>, teacher: Tensor<2>, temperature: f32) -> Tensor<1> {
    let teacher = teacher / temperature;
    let probabilities = softmax(teacher.clone(), 1);
    let entropy = Tensor::from_inner(
        (probabilities.clone() * log_softmax(teacher, 1))
            .sum_dim(1)
            .mean(),
    );
    let cross = cross_entropy(student / temperature, Tensor::from_inner(probabilities));
    (cross + entropy) * (temperature * temperature)
}

/// What an image is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Label {
    /// Of the class, with so much certainty in 0..=1; the rest is spread over the other classes.
    Class(usize, f32),
    /// Of none of the classes: all are alike.
    Other,
}

/// Probabilities to learn, `[n, classes]`. A part of `smoothing` is spread evenly.
pub(super) fn smoothed(
    labels: impl ExactSizeIterator<Item = Label>,
    classes: usize,
    smoothing: f32,
    device: &Device,
) -> Tensor<2> {
    let count = labels.len();
    let even = 1.0 / classes as f32;
    let mut targets = Vec::with_capacity(count * classes);
    for label in labels {
        match label {
            Label::Other => targets.resize(targets.len() + classes, even),
            Label::Class(class, sure) => {
                let rest = (1.0 - sure) / (classes.max(2) - 1) as f32;
                targets.extend((0..classes).map(|other| {
                    let label = if other == class { sure } else { rest };
                    label.mul_add(1.0 - smoothing, smoothing * even)
                }));
            }
        }
    }
    Tensor::from_data(TensorData::new(targets, [count, classes]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tensor: Tensor<1>) -> f32 {
        tensor.into_scalar()
    }

    #[test]
    fn a_student_like_its_teacher_has_nothing_to_learn_from_it() {
        let plain = Device::flex();
        let autodiff = plain.clone().autodiff();
        let teacher = [[1.0, 2.0, -3.0], [0.5, 0.0, 0.0]];
        let student = Tensor::<2>::from_floats(teacher, &autodiff);
        let same = value(divergence(
            student.clone(),
            Tensor::from_floats(teacher, &plain),
            4.0,
        ));
        assert!(same.abs() < 1e-5, "{same}");
        let other = Tensor::from_floats([[2.0, 1.0, -3.0], [0.5, 0.0, 0.0]], &plain);
        assert!(value(divergence(student, other, 4.0)) > 0.01);
    }

    #[test]
    fn divergence_agrees_with_its_definition() {
        // Teacher (0, ln 3), student (0, 0), temperature 1: ¼·ln(¼/½) + ¾·ln(¾/½).
        let plain = Device::flex();
        let student = Tensor::<2>::from_floats([[0.0, 0.0]], &plain.clone().autodiff());
        let found = value(divergence(
            student,
            Tensor::from_floats([[0.0, 3.0_f32.ln()]], &plain),
            1.0,
        ));
        let wanted = 0.25 * 0.5_f32.ln() + 0.75 * 1.5_f32.ln();
        assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
    }

    #[test]
    fn targets_add_up_to_one() {
        let labels = [Label::Class(1, 1.0), Label::Other, Label::Class(0, 0.7)];
        let targets = smoothed(labels.into_iter(), 4, 0.2, &Device::flex());
        let rows: Vec<f32> = targets.into_data().try_to_vec().unwrap();
        let wanted = [
            [0.05, 0.85, 0.05, 0.05],
            [0.25, 0.25, 0.25, 0.25],
            [0.61, 0.13, 0.13, 0.13],
        ];
        for (found, wanted) in rows.iter().zip(wanted.as_flattened()) {
            assert!((found - wanted).abs() < 1e-6, "{rows:?}");
        }
    }
}
