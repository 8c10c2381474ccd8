use super::*;

fn outputs() -> Outputs {
    Outputs {
        labels: vec![0, 1, 2, 2],
        main: vec![
            vec![9.0, 0.0, 0.0],
            vec![0.0, 0.0, 5.0],
            vec![0.0, 0.0, 9.0],
            vec![0.1, 0.0, 0.0],
        ],
        extension: vec![vec![0.0, 0.0], vec![8.0, 0.0], vec![0.5, 0.0], vec![0.0, 0.0]],
        cloud: vec![vec![0.0, 0.0, 1.0]; 4],
        extension_classes: vec![1, 2],
        hard_classes: vec![1, 2],
    }
}

#[test]
fn each_image_leaves_by_one_exit() {
    let report = outputs()
        .report(&by_entropy(Some(1.0), ExtensionRule::Extension))
        .unwrap();
    assert!((report.exits.iter().map(|e| e.share).sum::<f64>() - 1.0).abs() < 1e-9);
    // Image 0 is easy, 1 is mended by the extension, 2 is spoiled by it, 3 is unsure and mended by the cloud.
    assert_eq!(
        report.exits.iter().map(|e| e.share).collect::<Vec<_>>(),
        [0.25, 0.5, 0.25]
    );
    assert!((report.accuracy - 0.75).abs() < 1e-9);
}

#[test]
fn comparing_confidences_keeps_the_surer_answer() {
    let report = outputs()
        .report(&by_entropy(None, ExtensionRule::MoreConfident))
        .unwrap();
    assert!((report.exits[1].share - 0.25).abs() < 1e-9);
}

#[test]
fn the_extension_can_pass_an_image_on() {
    let routing = Routing {
        extension_offload_above: Some(0.5),
        ..by_entropy(None, ExtensionRule::Extension)
    };
    let tally = outputs().tally(&routing).unwrap();
    // Image 2 puzzles the extension and the cloud gets it right; image 1 does not.
    assert_eq!(
        (
            tally.exit(Exit::Extension).images,
            tally.exit(Exit::Cloud).images,
            tally.extended
        ),
        (1, 1, 2)
    );
}

#[test]
fn what_the_main_exit_is_sure_of_is_not_extended() {
    // Image 2, whose score is 0.002, is spoiled by the extension; image 1 with 0.08 is mended by it.
    let routing = Routing {
        extend_above: Some(0.01),
        ..by_entropy(None, ExtensionRule::Extension)
    };
    let tally = outputs().tally(&routing).unwrap();
    assert_eq!(
        (tally.exit(Exit::Main).images, tally.extended, tally.right()),
        (3, 1, 3)
    );
}

#[test]
fn what_does_not_fit_together_is_named() {
    let error = |change: fn(&mut Outputs)| {
        let mut outputs = outputs();
        change(&mut outputs);
        outputs.check().unwrap_err().to_string()
    };
    assert!(error(|o| o.cloud.truncate(1)).contains("cloud has 1 where 4"));
    assert!(error(|o| o.extension[2].push(0.0)).contains("extension has 3 where 2"));
    assert!(error(|o| o.labels[3] = 7).contains("image 3"));
    assert!(error(|o| o.hard_classes = vec![9]).contains("hardClasses"));
}
