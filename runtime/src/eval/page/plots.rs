//! The charts of the page.

use meanet_method::calibration::Bin;

use crate::eval::calibrated::Calibration;
use crate::eval::figures::Line;
use crate::eval::plot::{Mark, Plot, Series};
use crate::eval::report::{CurvePoint, EvaluationReport, ScoreReport};

/// Images that a bin must have to be drawn: the share of right ones among fewer says nothing.
const FEWEST: usize = 5;

/// What thresholds do: over all scores by what they send and spend, then score by score.
pub(super) fn threshold_plots(report: &EvaluationReport) -> Vec<Plot> {
    let per_score = |x: fn(&CurvePoint) -> f64| -> Vec<Series> {
        let one = |score: &ScoreReport| Series {
            name: score.score.as_str().to_owned(),
            mark: Mark::Line,
            points: score.curve.iter().map(|p| (x(p), 100.0 * p.accuracy)).collect(),
        };
        report.scores.iter().map(one).collect()
    };
    let dots = |x: fn(&Line) -> f64| Series {
        name: "routings above".to_owned(),
        mark: Mark::Dots,
        points: report
            .lines
            .iter()
            .map(|line| (x(line), 100.0 * line.figures.accuracy))
            .collect(),
    };
    let mut by_offload = per_score(|p| 100.0 * p.offload);
    by_offload.push(dots(|line| 100.0 * line.figures.offload));
    if let Some(curve) = report.scores.first().map(|score| &score.curve) {
        // What sending images at random would give.
        let ends = [curve.first(), curve.last()].into_iter().flatten();
        let points = ends.map(|p| (100.0 * p.offload, 100.0 * p.accuracy)).collect();
        by_offload.push(Series {
            name: "at random".to_owned(),
            mark: Mark::Dashed,
            points,
        });
    }
    let mut by_joules = per_score(|p| 1e3 * p.joules);
    by_joules.push(dots(|line| 1e3 * line.figures.spent.joules));
    let plot = |title: &str, x: &str, series| Plot {
        title: title.to_owned(),
        x: x.to_owned(),
        y: "accuracy, %".to_owned(),
        y_range: None,
        series,
    };
    let mut plots = vec![
        plot("Accuracy by share sent", "sent to the cloud, %", by_offload),
        plot("Accuracy by energy", "mJ an image", by_joules),
    ];
    plots.extend(report.scores.iter().map(|score| {
        let line = |name: &str, y: fn(&CurvePoint) -> f64| Series {
            name: name.to_owned(),
            mark: Mark::Line,
            points: score
                .curve
                .iter()
                .map(|p| (f64::from(p.offload_above), 100.0 * y(p)))
                .collect(),
        };
        let series = vec![
            line("accuracy", |p| p.accuracy),
            line("leaves at main", |p| p.main),
            line("at extension", |p| p.extension),
            line("to the cloud", |p| p.offload),
        ];
        Plot {
            title: format!("Thresholds of {}", score.score.as_str()),
            x: "offloadAbove".to_owned(),
            y: "%".to_owned(),
            y_range: Some((0.0, 100.0)),
            series,
        }
    }));
    plots
}

/// Risk at each coverage of every score.
pub(super) fn risk_coverage(scores: &[ScoreReport]) -> Plot {
    let one = |score: &ScoreReport| Series {
        name: score.score.as_str().to_owned(),
        mark: Mark::Line,
        points: score
            .risk_coverage
            .iter()
            .map(|p| (100.0 * p.coverage, 100.0 * p.risk))
            .collect(),
    };
    Plot {
        title: "Risk by coverage, edge only".to_owned(),
        x: "surest images answered, %".to_owned(),
        y: "wrong among them, %".to_owned(),
        y_range: None,
        series: scores.iter().map(one).collect(),
    }
}

/// Confidence against accuracy of every exit.
pub(super) fn reliability(report: &EvaluationReport) -> Vec<Plot> {
    let one = |calibration: &Calibration| {
        let series = |name: &str, bins: &[Bin]| Series {
            name: name.to_owned(),
            mark: Mark::Line,
            points: bins
                .iter()
                .filter(|bin| bin.images >= FEWEST)
                .map(|bin| (100.0 * bin.confidence, 100.0 * bin.accuracy))
                .collect(),
        };
        Plot {
            title: format!("Reliability of {}", calibration.exit.as_str()),
            x: "confidence, %".to_owned(),
            y: "right, %".to_owned(),
            y_range: Some((0.0, 100.0)),
            series: vec![
                series("as it is", &calibration.bins),
                series("with temperature", &calibration.scaled_bins),
                Series {
                    name: "honest".to_owned(),
                    mark: Mark::Dashed,
                    points: vec![(0.0, 0.0), (100.0, 100.0)],
                },
            ],
        }
    };
    report.calibration.iter().map(one).collect()
}
