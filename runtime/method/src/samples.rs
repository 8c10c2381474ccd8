//! Random evaluations for tests.

use proptest::prelude::*;

use crate::judge::Judged;
use crate::outputs::Outputs;
use crate::route::Exit;

/// Outputs of 1 to `most` images over 4 classes, two of them hard. Logits are coarse, so that ties occur.
pub(crate) fn outputs(most: usize) -> impl Strategy<Value = Outputs> {
    let logits = |columns| proptest::collection::vec((-3_i8..4).prop_map(f32::from), columns);
    proptest::collection::vec((0_u32..4, logits(4), logits(2), logits(4)), 1..most).prop_map(|rows| {
        let mut outputs = Outputs {
            hard_classes: vec![1, 3],
            extension_classes: vec![1, 3],
            ..Outputs::default()
        };
        for (label, main, extension, cloud) in rows {
            outputs.labels.push(label);
            outputs.main.push(main);
            outputs.extension.push(extension);
            outputs.cloud.push(cloud);
        }
        outputs
    })
}

/// 1 to `most` judged images with a cloud and with scores in tenths, so that ties occur.
pub(crate) fn judged(most: usize) -> impl Strategy<Value = Vec<Judged>> {
    let one = (0_u8..=10, proptest::option::of(0_u8..=10), any::<[bool; 3]>()).prop_map(
        |(main, extension, [main_right, extension_right, cloud_right])| Judged {
            main_score: f32::from(main) / 10.0,
            extension_score: extension.map(|score| f32::from(score) / 10.0),
            main_right,
            edge_exit: if extension.is_some() {
                Exit::Extension
            } else {
                Exit::Main
            },
            edge_right: if extension.is_some() {
                extension_right
            } else {
                main_right
            },
            cloud_right: Some(cloud_right),
        },
    );
    proptest::collection::vec(one, 1..most)
}
