//! The curves of a training run as a picture that any browser shows.

use std::error::Error;
use std::fs;
use std::path::Path;

use meanet_net::train::{EpochLine, METRICS};

use crate::eval::plot::{Mark, Plot, Series};

const PICTURE: &str = "curves.svg";
const STYLE: &str = "text{font:11px sans-serif}.title{font-weight:bold}.grid{stroke:#ddd}";

/// Draws what the run in `folder` has measured so far into its `curves.svg`.
pub(super) fn draw(folder: &Path) -> Result<(), Box<dyn Error>> {
    let lines = fs::read_to_string(folder.join(METRICS))?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<EpochLine>, _>>()?;
    fs::write(folder.join(PICTURE), picture(&lines))?;
    Ok(())
}

fn picture(lines: &[EpochLine]) -> String {
    let chart = |y: &str, value: fn(&EpochLine) -> f64| Plot {
        title: format!("{y} after each epoch"),
        x: "epoch".to_owned(),
        y: y.to_owned(),
        y_range: None,
        series: vec![Series {
            name: y.to_owned(),
            mark: Mark::Line,
            points: lines
                .iter()
                .map(|line| (line.epoch as f64, value(line)))
                .collect(),
        }],
    };
    let charts = [
        chart("held-out accuracy", |line| {
            line.holdout_accuracy.unwrap_or(f64::NAN)
        }),
        chart("training loss", |line| line.loss),
        chart("learning rate", |line| line.learning_rate),
    ];
    let drawn: String = charts
        .iter()
        .enumerate()
        .map(|(place, chart)| {
            let place = format!("<svg y=\"{}\" width=\"560\" height=\"320\" ", 320 * place);
            chart.svg().replacen("<svg ", &place, 1)
        })
        .collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 560 {}\"><style>{STYLE}</style>\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>{drawn}</svg>\n",
        320 * charts.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_drawn_from_its_metrics() {
        let folder = tempfile::tempdir().unwrap();
        let line = |epoch: usize| EpochLine {
            epoch,
            side: 32,
            loss: 3.0 / epoch as f64,
            learning_rate: 0.1,
            holdout_accuracy: Some(0.1 * epoch as f64),
            seconds: 1.0,
            images_per_second: 100.0,
        };
        let text: Vec<String> = (1..=3)
            .map(|e| serde_json::to_string(&line(e)).unwrap())
            .collect();
        fs::write(folder.path().join(METRICS), text.join("\n")).unwrap();
        draw(folder.path()).unwrap();
        let svg = fs::read_to_string(folder.path().join(PICTURE)).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
        fs::write(folder.path().join(METRICS), "no JSON").unwrap();
        assert!(draw(folder.path()).is_err());
    }
}
