//! Calibration of each exit: the temperature is fitted to the selection images, the errors are of the others.

use std::error::Error;

use meanet_method::calibration::{
    Bin, confidences, expected_calibration_error, fit_temperature, reliability,
};
use meanet_method::{Exit, Outputs, best};
use serde::Serialize;

use super::stored::Stored;

/// How far confidences of one exit can be believed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Calibration {
    pub(super) exit: Exit,
    /// Expected calibration error as the network says it.
    pub(super) error: f64,
    /// Fitted to the selection images.
    pub(super) temperature: f32,
    /// Expected calibration error at that temperature.
    pub(super) scaled_error: f64,
    pub(super) bins: Vec<Bin>,
    pub(super) scaled_bins: Vec<Bin>,
}

/// Logits of an exit and the index of the truth among them, where the exit can say it.
type Rows<'a> = Vec<(&'a [f32], Option<usize>)>;

/// Of main exit, extension, and cloud where there is one.
pub(super) fn calibrations(stored: &Stored) -> Result<Vec<Calibration>, Box<dyn Error>> {
    let mut exits = vec![Exit::Main, Exit::Extension];
    if stored.report.has_cloud() {
        exits.push(Exit::Cloud);
    }
    exits.into_iter().map(|exit| calibration(exit, stored)).collect()
}

fn calibration(exit: Exit, stored: &Stored) -> Result<Calibration, Box<dyn Error>> {
    let temperature = fit_temperature(&rows(exit, &stored.selection)?);
    let rows = rows(exit, &stored.report)?;
    let logits: Vec<&[f32]> = rows.iter().map(|row| row.0).collect();
    let bins = |temperature| {
        let said = confidences(&logits, temperature)?;
        let right: Vec<(f32, bool)> = said
            .iter()
            .zip(&rows)
            .map(|((p, index), row)| (*p, Some(*index) == row.1))
            .collect();
        Ok::<_, Box<dyn Error>>(reliability(&right))
    };
    let (bins, scaled_bins) = (bins(1.0)?, bins(temperature)?);
    Ok(Calibration {
        exit,
        error: expected_calibration_error(&bins),
        temperature,
        scaled_error: expected_calibration_error(&scaled_bins),
        bins,
        scaled_bins,
    })
}

/// The images that an exit is asked about: all, or for the extension those that the main exit takes for hard.
fn rows(exit: Exit, outputs: &Outputs) -> Result<Rows<'_>, Box<dyn Error>> {
    let hard = outputs.check()?;
    let labels = outputs.labels.iter().map(|label| Some(*label as usize));
    Ok(match exit {
        Exit::Main => outputs.main.iter().map(Vec::as_slice).zip(labels).collect(),
        Exit::Cloud => outputs.cloud.iter().map(Vec::as_slice).zip(labels).collect(),
        Exit::Extension => outputs
            .extension
            .iter()
            .zip(&outputs.main)
            .zip(&outputs.labels)
            .filter(|((_, main), _)| hard.contains(best(main).0 as u32))
            .map(|((extension, _), label)| {
                (
                    extension.as_slice(),
                    outputs.extension_classes.binary_search(label).ok(),
                )
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::stored::tests::stored;
    use super::*;

    #[test]
    fn the_extension_is_judged_on_what_it_is_asked_about() {
        let stored = stored();
        let asked = rows(Exit::Extension, &stored.report).unwrap();
        let hard = stored.report.check().unwrap();
        let expected = stored
            .report
            .main
            .iter()
            .filter(|row| hard.contains(best(row).0 as u32))
            .count();
        assert_eq!(asked.len(), expected);
        assert!(
            asked.iter().any(|row| row.1.is_none()),
            "a class that it cannot say counts as wrong"
        );
    }

    #[test]
    fn a_network_that_bluffs_is_cooled() {
        let mut bluffing = stored();
        for outputs in [&mut bluffing.selection, &mut bluffing.report] {
            outputs.cloud.iter_mut().flatten().for_each(|logit| *logit *= 5.0);
        }
        let cloud = calibration(Exit::Cloud, &bluffing).unwrap();
        assert!(
            cloud.temperature > 2.0 && cloud.scaled_error < cloud.error,
            "{cloud:?}"
        );
    }
}
