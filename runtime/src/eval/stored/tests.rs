use super::*;

/// 200 images of 4 classes, two of them hard; the main exit is unsure of every fifth, and the cloud right of nearly all.
pub(crate) fn stored() -> Stored {
    let outputs = |shift: usize| {
        let mut outputs = Outputs {
            extension_classes: vec![1, 3],
            hard_classes: vec![1, 3],
            ..Outputs::default()
        };
        for i in 0..200 {
            let (label, noise) = ((i + shift) % 4, ((i * 37 + shift * 11) % 100) as f32 / 25.0);
            let wrong = (label + 1) % 4;
            let row = |right: f32, other: f32| {
                (0..4)
                    .map(|c| {
                        if c == label {
                            right
                        } else if c == wrong {
                            other
                        } else {
                            0.0
                        }
                    })
                    .collect()
            };
            outputs.labels.push(label as u32);
            outputs.main.push(row(4.0 - noise, noise));
            outputs.extension.push(vec![
                if label == 1 { 3.0 } else { noise },
                if label == 3 { 3.0 } else { noise },
            ]);
            outputs.cloud.push(row(5.0, if i % 17 == 0 { 6.0 } else { 0.0 }));
        }
        outputs
    };
    let cost = Cost {
        parameters: 10,
        macs: 1000,
    };
    let edge_cost = EdgeCost {
        main: cost,
        adaptive: cost,
        extension: cost,
    };
    let mut config = Config::new(
        "sha256:0".to_owned(),
        "ResNet20".to_owned(),
        "made up".to_owned(),
        "halves".to_owned(),
        edge_cost,
    );
    config.cloud_backbone = Some("ResNet20x2".to_owned());
    config.cloud_cost = Some(Cost {
        parameters: 40,
        macs: 4000,
    });
    config.extension_classes = vec![1, 3];
    config.hard_classes = vec![1, 3];
    config.image_bytes = 3072;
    Stored {
        config,
        selection: outputs(0),
        report: outputs(1),
    }
}

#[test]
fn what_was_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    stored().write(folder.path()).unwrap();
    assert_eq!(Stored::open(folder.path()).unwrap(), stored());
    let mut alone = stored();
    alone.selection.cloud.clear();
    alone.report.cloud.clear();
    assert_eq!(
        Stored::parse(&alone.bytes().unwrap()).unwrap(),
        alone,
        "without a cloud as well"
    );
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let error = |change: fn(&mut Stored)| {
        let mut stored = stored();
        change(&mut stored);
        Stored::parse(&stored.bytes().unwrap()).unwrap_err().to_string()
    };
    assert!(error(|s| s.config.version = 2).contains("layout is Some(2)"));
    assert!(error(|s| s.report.labels[7] = 99).contains("label 99"));
    assert!(
        error(|s| {
            s.config.extension_classes = vec![1];
            s.config.hard_classes = vec![1];
        })
        .contains("extension has 2 where 1")
    );
    let bytes = stored().bytes().unwrap();
    assert!(Stored::parse(&bytes[..bytes.len() - 4]).is_err(), "a cut file");
    assert!(
        Stored::open(Path::new("/nowhere"))
            .unwrap_err()
            .to_string()
            .contains("meanet eval --out")
    );
}
