//! Plots of the results, each a file of its own.

use super::cascade::{Curve, CurvePoint};
use super::results::Results;
use super::shift::{Labels, Way};
use crate::eval::plot::{Mark, Plot, Series};

/// Names of files and what they show; none that would be empty.
pub(super) fn plots(results: &Results) -> Vec<(&'static str, Plot)> {
    let mut plots = Vec::new();
    if let Some(cascade) = &results.cascade {
        let curves = |x: fn(&CurvePoint) -> f64| -> Vec<Series> {
            let one = |curve: &Curve| Series {
                name: curve.name.clone(),
                mark: Mark::Line,
                points: curve.points.iter().map(|p| (x(p), 100.0 * p.accuracy)).collect(),
            };
            cascade.curves.iter().map(one).collect()
        };
        let plot = |title: &str, x: &str, series| Plot {
            title: title.to_owned(),
            x: x.to_owned(),
            y: "accuracy, %".to_owned(),
            y_range: None,
            series,
        };
        plots.push((
            "accuracy-by-share-sent",
            plot(
                "Accuracy by share sent",
                "sent to the cloud, %",
                curves(|p| 100.0 * p.offload),
            ),
        ));
        plots.push((
            "accuracy-by-energy",
            plot("Accuracy by energy", "mJ an image", curves(|p| 1e3 * p.joules)),
        ));
    }
    let ways = [
        (Way::Extension, Labels::True),
        (Way::Extension, Labels::Cloud),
        (Way::Norms, Labels::None),
        (Way::Colours, Labels::None),
        (Way::Head, Labels::True),
        (Way::Everything, Labels::True),
    ];
    let of = |(wanted, labels): (Way, Labels), y: fn(&super::shift::WayResult) -> f64| Series {
        name: format!("{}, {}", wanted.short(), labels.short()),
        mark: Mark::Dots,
        points: results
            .shifts
            .iter()
            .flat_map(|shifted| shifted.ways.iter().map(move |way| (shifted, way)))
            .filter(|(_, way)| way.way == wanted && way.labels == labels)
            .map(|(shifted, way)| (100.0 * shifted.edge.share, 100.0 * y(way)))
            .collect(),
    };
    let mut series: Vec<Series> = ways
        .into_iter()
        .map(|way| of(way, |way| way.shifted.share))
        .collect();
    series.retain(|series| !series.points.is_empty());
    if !series.is_empty() {
        let edges = results.shifts.iter().map(|shifted| 100.0 * shifted.edge.share);
        let low = edges.clone().fold(100.0, f64::min);
        let high = edges.fold(0.0, f64::max);
        series.push(Series {
            name: "nothing done".to_owned(),
            mark: Mark::Dashed,
            points: vec![(low, low), (high, high)],
        });
        plots.push((
            "shift",
            Plot {
                title: "Shifted images: accuracy after, by accuracy before".to_owned(),
                x: "edge by itself, nothing done, %".to_owned(),
                y: "afterwards, %".to_owned(),
                y_range: None,
                series,
            },
        ));
    }
    plots
}
