use super::super::stored::tests::stored;
use super::scores::BUDGETS;
use super::*;

fn report(stored: &Stored) -> EvaluationReport {
    build(stored, EnergyProfile::default(), &RoutingSpec::default()).unwrap()
}

#[test]
fn the_parts_agree_with_each_other() {
    let report = report(&stored());
    let line = |name: &str| {
        &report
            .lines
            .iter()
            .find(|line| line.name == name)
            .unwrap()
            .figures
    };
    let images: usize = report.hardness.iter().flatten().map(|cell| cell.images).sum();
    let main: usize = report.hardness.iter().flatten().map(|cell| cell.main_right).sum();
    assert_eq!(images, 200);
    assert!((line("main block alone").accuracy - main as f64 / 200.0).abs() < 1e-9);
    assert!((line("cloud alone").accuracy - stored().report.cloud_accuracy().unwrap()).abs() < 1e-9);
    for score in &report.scores {
        let (first, last) = (score.curve.first().unwrap(), score.curve.last().unwrap());
        assert!(
            (last.accuracy - line("edge, extension answers").accuracy).abs() < 1e-9,
            "{:?}",
            score.score
        );
        assert!(last.offload.abs() < 1e-9 && first.offload >= last.offload);
        assert!(score.aurc >= score.best_aurc);
    }
    assert_eq!(report.scores.len(), 4);
    assert!(
        report
            .scores
            .iter()
            .all(|score| score.budgets.len() == BUDGETS.len())
    );
    assert!(line("present setting").spent.joules > line("edge, extension answers").spent.joules);
}

#[test]
fn without_a_cloud_there_is_still_a_report() {
    let mut alone = stored();
    alone.selection.cloud.clear();
    alone.report.cloud.clear();
    let report = report(&alone);
    assert_eq!(
        (
            report.scores.len(),
            report.ways_out.len(),
            report.calibration.len()
        ),
        (3, 2, 2)
    );
    assert!(page(&report).contains("</html>"));
    let sparing = RoutingSpec {
        extend_above: Some(0.7),
        ..RoutingSpec::default()
    };
    let report = build(&alone, EnergyProfile::default(), &sparing).unwrap();
    let extended: Vec<f64> = report.lines.iter().map(|line| line.figures.extended).collect();
    assert_eq!(report.lines[3].name, "present setting");
    assert!(extended[3] < extended[1], "{extended:?}");
}

#[test]
fn nothing_is_fitted_to_the_images_reported_on() {
    // Labels of the report images decide what is reported, but nothing that was fitted: neither router nor
    // threshold nor temperature.
    let (as_is, mut other) = (stored(), stored());
    other.report.labels.reverse();
    let curve = |report: &EvaluationReport| {
        let learned = report.scores[3]
            .curve
            .iter()
            .map(|p| (p.offload_above, p.offload));
        learned
            .chain(
                report.scores[0]
                    .budgets
                    .iter()
                    .map(|b| (b.offload_above, b.offload)),
            )
            .collect::<Vec<_>>()
    };
    let (a, b) = (report(&as_is), report(&other));
    assert_ne!(
        a.lines[0].figures.accuracy.to_bits(),
        b.lines[0].figures.accuracy.to_bits()
    );
    assert_eq!(curve(&a), curve(&b));
    let temperatures = |report: &EvaluationReport| {
        report
            .calibration
            .iter()
            .map(|c| c.temperature.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(temperatures(&a), temperatures(&b));
}
