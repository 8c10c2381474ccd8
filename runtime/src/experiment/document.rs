//! The results as a page for people, made from what results.json holds.

use std::fmt::Write;

use meanet_method::{Difference, Proportion};

use super::aims::Aim;
use super::aims::OFFLOAD;
use super::cascade::{Cascade, THRIFTY};
use super::claims::{Claim, Verdict};
use super::line::Line;
use super::memory::Memory;
use super::results::{About, Results};
use super::shift::Shifted;
use crate::eval::plot::Plot;

/// The page; `plots` are the names of the plots beside it, and these.
pub(super) fn document(results: &Results, plots: &[(&'static str, Plot)]) -> String {
    let mut page =
        "# Results\n\nMade by `make reproduce` from [results.json](results.json); edit neither.\n\n"
            .to_owned();
    about(&mut page, &results.about);
    aims(&mut page, &results.aims);
    ablation(&mut page, &results.ablation);
    if let Some(found) = &results.cascade {
        cascade(&mut page, found);
    }
    let picture = |page: &mut String, wanted: &str| {
        for (name, plot) in plots.iter().filter(|(name, _)| name.starts_with(wanted)) {
            let _ = writeln!(page, "![{}](results/{name}.svg)\n", plot.title);
        }
    };
    picture(&mut page, "accuracy");
    shifts(&mut page, results);
    picture(&mut page, "shift");
    if let Some(measured) = &results.memory {
        memory(&mut page, measured);
    }
    claims(&mut page, &results.claims);
    missing(&mut page, &results.missing);
    page
}

fn about(page: &mut String, about: &About) {
    let cloud = about.cloud.as_ref().map_or_else(
        || "none".to_owned(),
        |cloud| {
            let origin = if cloud.foreign {
                ", trained by others on all training images"
            } else {
                ""
            };
            format!("{} `{}`{origin}", cloud.backbone, short(&cloud.digest))
        },
    );
    let rows = [
        vec![
            "edge".to_owned(),
            format!("{} `{}`", about.backbone, short(&about.model)),
        ],
        vec!["cloud".to_owned(), cloud],
        vec![
            "test images".to_owned(),
            format!(
                "{} of {}, `{}`",
                about.test_images,
                about.data,
                short(&about.test)
            ),
        ],
        vec![
            "held-out images".to_owned(),
            format!(
                "{} that the main block has not learned from",
                about.held_out_images
            ),
        ],
        vec![
            "a shift is followed with".to_owned(),
            format!(
                "{} of these, shifted; {} epochs; backend {}; counted on {} of the test images",
                about.labelled, about.epochs, about.backend, about.shift_images
            ),
        ],
        vec!["seed".to_owned(), about.seed.to_string()],
    ];
    table(page, &["", ""], &rows);
    page.push_str(
        "Nothing is trained, chosen or tuned on the test images: thresholds and the learned router come from held-out images. \
         Intervals are of 95 %: Wilson's for an accuracy, the normal one of paired answers for a difference. \
         Energy is that of the default profile in [evaluation.md](evaluation.md#energy-profile); it is computed, not metered.\n\n",
    );
    if about.cloud.as_ref().is_some_and(|cloud| cloud.foreign) {
        page.push_str(
            "The cloud has seen the held-out images in its training. What looks at its answers there (two-stage thresholds, the learned router, \
             the cloud's labels) is fitted to a better cloud than the test images meet.\n\n",
        );
    }
}

fn aims(page: &mut String, aims: &[Aim]) {
    page.push_str("## Aims\n\n");
    let row = |aim: &Aim| {
        let met = if aim.met { "met" } else { "**missed**" };
        vec![
            aim.aim.clone(),
            met.to_owned(),
            aim.by.clone(),
            aim.measured.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = aims.iter().map(row).collect();
    table(page, &["Aim", "", "by", "measured"], &rows);
}

fn ablation(page: &mut String, lines: &[Line]) {
    page.push_str(
        "## The edge by itself\n\nEach line is compared with the main block alone, image by image.\n\n",
    );
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.name.clone(),
                proportion(&line.accuracy),
                line.change.as_ref().map_or_else(|| "–".to_owned(), difference),
                percent(line.extended),
                format!("{:.1} M", line.spent.edge_macs / 1e6),
                line.note.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(
        page,
        &[
            "",
            "accuracy",
            "against main alone",
            "extension runs",
            "MACs an image",
            "",
        ],
        &rows,
    );
}

fn cascade(page: &mut String, cascade: &Cascade) {
    let _ = write!(
        page,
        "## Edge and cloud\n\nThe plain cascade sends what its main block is unsure of, by entropy, and has no extension. MEANet \
         extends inputs of a hard class above `extendAbove` alone, which is chosen on held-out images at a cost of at most 0.1 points. The plain cascade is matched to \
         MEANet's line: with the threshold that sends as much (equal bytes), and with the one that spends as much (equal joules: \
         what the extension costs is spent on sending more). Differences are against the plain cascade at equal bytes. Other networks at \
         the edge were trained by others, on all training images; their MACs say which edge they compare with. Thresholds keep to what \
         may be sent on the held-out images, so that test images may exceed it a little. *Thrifty* is the setting, by entropy or by the \
         learned router, with the extension asked or kept for when there is no cloud, that is most accurate on held-out images of those that send at most {:.1} % of these and spend at most {:.0} % of the energy \
         of the cloud alone: half of the images and all of its energy, with something to spare.\n\n",
        100.0 * THRIFTY * OFFLOAD,
        100.0 * THRIFTY
    );
    let row = |first: String, line: &Line| {
        vec![
            first,
            line.name.clone(),
            proportion(&line.accuracy),
            line.change.as_ref().map_or_else(|| "–".to_owned(), difference),
            percent(line.offload),
            format!("{:.1} M", line.spent.edge_macs / 1e6),
            format!("{:.0}", line.spent.bytes),
            format!("{:.2} mJ", 1e3 * line.spent.joules),
        ]
    };
    let mut rows = vec![row("–".to_owned(), &cascade.edge_only)];
    for budget in &cascade.budgets {
        for (place, line) in budget.lines.iter().enumerate() {
            let first = if place == 0 {
                format!("{:.0} %", 100.0 * budget.at_most)
            } else {
                String::new()
            };
            rows.push(row(first, line));
        }
    }
    if let Some(thrifty) = &cascade.thrifty {
        rows.push(row("thrifty".to_owned(), thrifty));
    }
    rows.push(row("–".to_owned(), &cascade.cloud_only));
    let head = [
        "may be sent",
        "",
        "accuracy",
        "difference",
        "sent",
        "edge MACs",
        "bytes",
        "energy",
    ];
    table(page, &head, &rows);
}

fn shifts(page: &mut String, results: &Results) {
    page.push_str(
        "## Adaptation under shift\n\nThe input changes after training; images and labels as said above are what there is to learn from. *Won \
         back* is the share of the accuracy that the edge had lost. Shipped are the tensors that changed. Time is processor time of the \
         training, all threads together. Colours, batch norms, classifier and everything give a main block that is asked alone. *The cloud's labels* are what it says of the images \
         once its colours and batch norms follow them, where its answers then tell them apart better (no label says so); its time is in \
         that of the extension. *Gate*: what a \
         deployment's gate, as it is by default, says of the candidate: passed, or held back since the gain on the images that judge may be chance.\n\n",
    );
    for shifted in &results.shifts {
        shift(page, shifted);
    }
    if results.shifts.is_empty() {
        page.push_str("Not run.\n\n");
    }
}

fn shift(page: &mut String, shifted: &Shifted) {
    let mut cloud = shifted
        .cloud
        .as_ref()
        .map_or_else(String::new, |cloud| format!(", cloud {}", proportion(cloud)));
    if let Some(labels) = &shifted.labels {
        let _ = write!(
            cloud,
            ". Of the labels that it gives once it follows the domain, {} are right",
            proportion(labels)
        );
    }
    let _ = writeln!(
        page,
        "### {}\n\nNothing done: main block {}, edge {}{cloud}.\n",
        shifted.shift,
        proportion(&shifted.main),
        proportion(&shifted.edge)
    );
    let rows: Vec<Vec<String>> = shifted
        .ways
        .iter()
        .map(|way| {
            vec![
                way.way.as_str().to_owned(),
                way.labels.as_str().to_owned(),
                proportion(&way.shifted),
                difference(&way.change),
                format!("{:.0} %", 100.0 * way.won_back),
                difference(&way.unshifted_change),
                kilobytes(way.shipped_bytes),
                format!("{:.0} s", way.cpu_seconds),
                match way.accepted {
                    Some(true) => "passed".to_owned(),
                    Some(false) => "held back".to_owned(),
                    None => String::new(),
                },
            ]
        })
        .collect();
    let head = [
        "",
        "learned from",
        "shifted images",
        "change",
        "won back",
        "change on unshifted images",
        "shipped",
        "time",
        "gate",
    ];
    table(page, &head, &rows);
}

fn memory(page: &mut String, memory: &Memory) {
    let _ = writeln!(
        page,
        "## Memory of training\n\nPeak beyond what the process held before, batch {}, {} images in a process of its own: adaptive and extension block {:.0} MB \
         (features of the main block for all images and versions among it), everything {:.0} MB, a ratio of {:.2}.\n",
        memory.batch,
        memory.images,
        memory.extension as f64 / 1e6,
        memory.whole as f64 / 1e6,
        memory.extension as f64 / memory.whole.max(1) as f64
    );
}

fn claims(page: &mut String, claims: &[Claim]) {
    page.push_str(
        "## The paper's claims\n\nLong et al., ICDCS 2021, as its abstract and method state them. Reproduced: the interval of the difference lies on the \
         side claimed. Within noise: it holds zero.\n\n",
    );
    let row = |claim: &Claim| {
        let verdict = match claim.verdict {
            Verdict::Reproduced => "reproduced",
            Verdict::WithinNoise => "within noise",
            Verdict::NotReproduced => "**not reproduced**",
            Verdict::NotTried => "not tried",
        };
        vec![
            claim.network.clone(),
            claim.claim.clone(),
            verdict.to_owned(),
            claim.measured.clone(),
            claim.why.clone(),
        ]
    };
    let (absent, tried): (Vec<&Claim>, Vec<&Claim>) = claims
        .iter()
        .partition(|claim| claim.verdict == Verdict::NotTried);
    let mut rows: Vec<Vec<String>> = tried.into_iter().map(row).collect();
    // All claims about a network that there is none of are one line.
    rows.extend(absent.chunk_by(|a, b| a.network == b.network).map(|claims| {
        let mut row = row(claims[0]);
        row[1] = format!("all {}", claims.len());
        row
    }));
    table(
        page,
        &["Network", "Claim", "", "measured", "why, and with what"],
        &rows,
    );
}

fn missing(page: &mut String, missing: &[String]) {
    if missing.is_empty() {
        return;
    }
    page.push_str(
        "## Not run\n\nThere was no time for these; `make reproduce` goes on where it stopped.\n\n",
    );
    // Names are of the form `noise:2, everything retrained, true labels`.
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for name in missing {
        let (group, rest) = name.split_once(", ").unwrap_or((name, ""));
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, members)) => members.push(rest),
            None => groups.push((group, vec![rest])),
        }
    }
    for (group, members) in groups {
        let _ = writeln!(page, "- {group}: {}", members.join("; "));
    }
}

fn table(page: &mut String, head: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(page, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let _ = writeln!(page, "| {} |", row.join(" | ").replace('\n', " "));
    }
    page.push('\n');
}

fn proportion(found: &Proportion) -> String {
    format!("{:.2} ± {:.2} %", 100.0 * found.share, 100.0 * found.reach())
}

fn difference(found: &Difference) -> String {
    format!("{:+.2} ± {:.2}", 100.0 * found.share, 100.0 * found.reach)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn kilobytes(bytes: u64) -> String {
    if bytes < 1_000_000 {
        format!("{:.0} kB", bytes as f64 / 1e3)
    } else {
        format!("{:.2} MB", bytes as f64 / 1e6)
    }
}

/// Enough of a digest to recognise it by; results.json has the whole.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}
