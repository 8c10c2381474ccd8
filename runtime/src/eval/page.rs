//! The report as one HTML file: tables and SVG, no script, nothing fetched.

use std::fmt::Write;

use super::figures::Line;
use super::plot::{Plot, escape};
use super::report::{Budget, EvaluationReport, Hardness, ScoreReport};
use plots::{reliability, risk_coverage, threshold_plots};

mod plots;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#222}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;margin:.6rem 0}\
td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child{text-align:left}\
.plots{display:flex;flex-wrap:wrap;gap:1rem}svg{width:36rem;max-width:100%;height:auto;background:#fff}\
svg text{font:11px system-ui,sans-serif;fill:#333}svg .title{font-weight:600;font-size:12.5px}\
.grid{stroke:#e5e5e5;stroke-width:1}.note{color:#555;max-width:60rem}code{word-break:break-all}";

/// The whole page.
pub(super) fn page(report: &EvaluationReport) -> String {
    let config = &report.config;
    let cloud = config.cloud_backbone.as_deref().unwrap_or("none");
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>MEANet evaluation</title><style>{STYLE}</style></head><body><h1>{} edge, cloud {}</h1>\
         <p class=\"note\">Model <code>{}</code>. {} images: {}. Thresholds, router and temperatures are fitted to {} other images: {}.</p>",
        escape(&config.backbone),
        escape(cloud),
        escape(&config.model),
        report.report_images,
        escape(&config.data),
        report.selection_images,
        escape(&config.selection),
    );
    section(&mut html, "Routings", &[lines(&report.lines)], &[]);
    section(
        &mut html,
        "Cost of each way out",
        &[ways_out(report), profile(report)],
        &[],
    );
    section(&mut html, "Easy and hard", &[hardness(report)], &[]);
    section(
        &mut html,
        "Thresholds for a budget",
        &[budgets(&report.scores)],
        &[],
    );
    section(&mut html, "Every threshold", &[], &threshold_plots(report));
    section(
        &mut html,
        "How well scores rank",
        &[scores(&report.scores)],
        &[risk_coverage(&report.scores)],
    );
    section(
        &mut html,
        "Calibration",
        &[calibration(report)],
        &reliability(report),
    );
    html.push_str("</body></html>\n");
    html
}

fn section(html: &mut String, title: &str, parts: &[String], plots: &[Plot]) {
    let _ = write!(html, "<h2>{title}</h2>{}", parts.concat());
    if !plots.is_empty() {
        let drawn: Vec<String> = plots.iter().map(Plot::svg).collect();
        let _ = write!(html, "<div class=\"plots\">{}</div>", drawn.concat());
    }
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut html = "<table><tr>".to_owned();
    for cell in head {
        let _ = write!(html, "<th>{}</th>", escape(cell));
    }
    for row in rows {
        html.push_str("</tr><tr>");
        for cell in row {
            let _ = write!(html, "<td>{}</td>", escape(cell));
        }
    }
    html + "</tr></table>"
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn lines(lines: &[Line]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let figures = &line.figures;
            let mut row = vec![
                line.name.clone(),
                format!(
                    "{:.2} ± {:.2} %",
                    100.0 * figures.accuracy,
                    100.0 * figures.standard_error
                ),
            ];
            row.extend(figures.exits.iter().map(|exit| {
                if exit.share > 0.0 {
                    format!("{}, {}", percent(exit.share), percent(exit.accuracy))
                } else {
                    "–".to_owned()
                }
            }));
            row.extend([
                percent(figures.missed),
                format!("{:.1} M", figures.spent.edge_macs / 1e6),
                format!("{:.0} B", figures.spent.bytes),
                format!("{:.2} mJ", 1e3 * figures.spent.joules),
            ]);
            row
        })
        .collect();
    let head = [
        "",
        "accuracy",
        "main: share, accuracy",
        "extension",
        "cloud",
        "missed",
        "edge MACs",
        "sent",
        "energy",
    ];
    let note = "<p class=\"note\">± is the standard error. Missed: answered wrongly at the edge where the cloud would have been right. \
                MACs, bytes of pixels and energy are the mean of an image.</p>";
    table(&head, &rows) + note
}

fn ways_out(report: &EvaluationReport) -> String {
    let rows: Vec<Vec<String>> = report
        .ways_out
        .iter()
        .map(|way| {
            vec![
                way.name.to_owned(),
                format!("{:.1} M", way.spent.edge_macs / 1e6),
                format!("{:.1} M", way.spent.cloud_macs / 1e6),
                format!("{:.0} B", way.spent.bytes),
                format!("{:.2} mJ", 1e3 * way.spent.joules),
            ]
        })
        .collect();
    table(&["", "edge MACs", "cloud MACs", "sent", "energy"], &rows)
}

fn profile(report: &EvaluationReport) -> String {
    let profile = &report.energy_profile;
    format!(
        "<p class=\"note\">Energy profile: {:.3e} J per multiply-accumulate at the edge, {:.3} W while sending {:.0} bytes a second, {:.3e} J per \
         multiply-accumulate in the cloud.</p>",
        profile.edge.joules_per_mac,
        profile.uplink.watts,
        profile.uplink.bytes_per_second,
        profile.cloud_joules_per_mac
    )
}

fn hardness(report: &EvaluationReport) -> String {
    let rows: Vec<Vec<String>> = ["easy class", "hard class"]
        .into_iter()
        .zip(&report.hardness)
        .map(|(name, cells)| {
            let cell = |cell: &Hardness| {
                let of = cell.images.max(1) as f64;
                let (main, edge) = (
                    percent(cell.main_right as f64 / of),
                    percent(cell.edge_right as f64 / of),
                );
                format!("{} images, main {main}, edge {edge}", cell.images)
            };
            vec![name.to_owned(), cell(&cells[0]), cell(&cells[1])]
        })
        .collect();
    table(&["truth", "main exit says easy", "main exit says hard"], &rows)
}

fn budgets(scores: &[ScoreReport]) -> String {
    let mut offers: Vec<f64> = scores
        .iter()
        .flat_map(|score| score.budgets.iter().chain(&score.two_stage))
        .map(|b| b.at_most)
        .collect();
    offers.sort_by(f64::total_cmp);
    offers.dedup();
    let mut head = vec!["score".to_owned()];
    head.extend(
        offers
            .iter()
            .map(|b| format!("at most {:.0} %: sent, accuracy, above", 100.0 * b)),
    );
    let row = |name: String, budgets: &[Budget]| {
        let cell = |at_most: &f64| {
            let found = budgets.iter().find(|b| b.at_most.to_bits() == at_most.to_bits());
            found.map_or_else(|| "–".to_owned(), budget)
        };
        std::iter::once(name).chain(offers.iter().map(cell)).collect()
    };
    let rows: Vec<Vec<String>> = scores
        .iter()
        .flat_map(|score| {
            let name = score.score.as_str();
            [
                row(name.to_owned(), &score.budgets),
                row(format!("{name}, two-stage"), &score.two_stage),
            ]
        })
        .collect();
    let note = "<p class=\"note\">Chosen on the selection images; what was sent and what was right is of the others. Two-stage: the extension's \
                threshold, in brackets, is chosen as well.</p>";
    table(&head.iter().map(String::as_str).collect::<Vec<_>>(), &rows) + note
}

fn budget(budget: &Budget) -> String {
    let escalate = budget
        .extension_offload_above
        .map_or_else(String::new, |above| format!(" ({above:.3})"));
    let (sent, accuracy) = (percent(budget.offload), percent(budget.accuracy));
    format!("{sent}, {accuracy}, {:.3}{escalate}", budget.offload_above)
}

fn scores(scores: &[ScoreReport]) -> String {
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    let rows: Vec<Vec<String>> = scores
        .iter()
        .map(|score| {
            vec![
                score.score.as_str().to_owned(),
                shown(score.auroc_wrong),
                shown(score.auroc_gain),
                format!("{:.4}", score.aurc),
                format!("{:.4}", score.best_aurc),
            ]
        })
        .collect();
    let head = [
        "score",
        "AUROC, edge wrong",
        "AUROC, cloud mends",
        "AURC",
        "AURC of a perfect score",
    ];
    table(&head, &rows)
}

fn calibration(report: &EvaluationReport) -> String {
    let rows: Vec<Vec<String>> = report
        .calibration
        .iter()
        .map(|one| {
            vec![
                one.exit.as_str().to_owned(),
                percent(one.error),
                format!("{:.3}", one.temperature),
                percent(one.scaled_error),
            ]
        })
        .collect();
    table(
        &[
            "exit",
            "expected calibration error",
            "temperature",
            "error at that temperature",
        ],
        &rows,
    )
}
