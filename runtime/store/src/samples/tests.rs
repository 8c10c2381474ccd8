use super::*;
use proptest::prelude::*;

fn sample(number: u32) -> Sample {
    Sample {
        height: 2,
        width: 2,
        pixels: vec![number as u8; 12],
        edge_label: Some(number),
        edge_score: 0.5,
        cloud_label: (!number.is_multiple_of(3)).then_some(number),
        cloud_confidence: 0.75,
        feedback: number.is_multiple_of(2).then_some(number + 1),
    }
}

fn numbers(samples: &[Sample]) -> Vec<u32> {
    samples.iter().map(|s| s.edge_label.unwrap()).collect()
}

#[test]
fn what_was_added_is_read_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    assert!(read_samples(root.path(), "cams", 10).unwrap().is_empty());
    for start in [0, 5] {
        let mut writer = SampleWriter::open(root.path(), "cams", 100).unwrap();
        for number in start..start + 5 {
            writer.add(&sample(number)).unwrap();
        }
    }
    let read = read_samples(root.path(), "cams", 100).unwrap();
    assert_eq!(read, (0..10).map(sample).collect::<Vec<_>>());
    assert_eq!(
        numbers(&read_samples(root.path(), "cams", 3).unwrap()),
        [7, 8, 9],
        "the newest, oldest first"
    );
}

#[test]
fn a_torn_end_costs_one_sample() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = SampleWriter::open(root.path(), "cams", 100).unwrap();
    for number in 0..3 {
        writer.add(&sample(number)).unwrap();
    }
    let path = segments(&root.path().join("samples/cams")).unwrap().remove(0);
    let bytes = fs::read(&path).unwrap();
    for cut in 0..bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let whole = cut.saturating_sub(HEADER) / (FIELDS + 12);
        assert_eq!(read_samples(root.path(), "cams", 100).unwrap().len(), whole);
    }
    let mut damaged = bytes;
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&path, &damaged).unwrap();
    assert_eq!(numbers(&read_samples(root.path(), "cams", 100).unwrap()), [0, 1]);
}

#[test]
fn writers_share_a_folder() {
    let root = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut writer = SampleWriter::open(root.path(), "cams", 10_000).unwrap();
                for number in 0..500 {
                    writer.add(&sample(number)).unwrap();
                }
            });
        }
    });
    assert_eq!(read_samples(root.path(), "cams", 10_000).unwrap().len(), 2000);
}

#[test]
fn names_and_shapes_are_checked() {
    let root = tempfile::tempdir().unwrap();
    for name in ["", "..", "a/b", "A"] {
        assert!(
            SampleWriter::open(root.path(), name, 10).is_err() && read_samples(root.path(), name, 1).is_err()
        );
    }
    let mut writer = SampleWriter::open(root.path(), "cams", 10).unwrap();
    assert!(
        writer
            .add(&Sample {
                height: 3,
                ..sample(0)
            })
            .is_err()
    );
    assert!(
        writer
            .add(&Sample {
                height: u32::MAX,
                ..sample(0)
            })
            .is_err()
    );
    writer.add(&sample(1)).unwrap();
    writer
        .add(&Sample {
            height: 1,
            pixels: vec![0; 6],
            ..sample(2)
        })
        .unwrap();
    assert_eq!(
        numbers(&read_samples(root.path(), "cams", 10).unwrap()),
        [1, 2],
        "sizes may change"
    );
}

proptest! {
    #[test]
    fn the_newest_stay_and_the_bound_holds(max in 1_usize..60, count in 0_u32..150) {
        let root = tempfile::tempdir().unwrap();
        let mut writer = SampleWriter::open(root.path(), "cams", max).unwrap();
        for number in 0..count {
            writer.add(&sample(number)).unwrap();
        }
        let read = numbers(&read_samples(root.path(), "cams", 1000).unwrap());
        prop_assert!(read.len() <= max);
        // Room is made a segment at a time, and the segment being filled has room left.
        let least = max.saturating_sub(2 * (max / 10).max(1));
        prop_assert!(read.len() >= (count as usize).min(least), "{} of {}", read.len(), max);
        prop_assert!(read.iter().rev().zip((0..count).rev()).all(|(&a, b)| a == b));
    }
}
