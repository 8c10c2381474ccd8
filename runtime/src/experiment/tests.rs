//! Experiments on made-up outputs: what is said must follow from what was counted.

use meanet_method::{Costs, EnergyProfile, ExtensionRule, Proportion};

use super::ablation::{ablation, edge, local};
use super::aims::aims;
use super::cascade::{Peer, cascade};
use super::claims::{Evidence, Verdict, claims, not_tried};
use super::document::document;
use super::results::{About, Network, Results};
use super::unshifted::Unshifted;
use crate::eval::stored::tests::stored;

/// 200 images of 4 classes, of which classes 1 and 3 are hard; the blinded extension says nothing.
fn unshifted() -> Unshifted {
    let stored = stored();
    let blinded = vec![vec![0.0; 2]; stored.report.len()];
    Unshifted { stored, blinded }
}

fn results() -> Results {
    Results::new(About {
        model: "sha256:0123456789abcdef0123".to_owned(),
        backbone: "ResNet20".to_owned(),
        cloud: Some(Network {
            backbone: "ResNet56".to_owned(),
            digest: "sha256:9".to_owned(),
            foreign: true,
        }),
        data: "made up".to_owned(),
        test_images: 200,
        test: "sha256:1".to_owned(),
        held_out_images: 200,
        seed: 0,
        shift_images: 200,
        labelled: 100,
        epochs: 1,
        backend: "flex".to_owned(),
    })
}

#[test]
fn parts_are_compared_with_the_main_block_alone() {
    let (unshifted, profile) = (unshifted(), EnergyProfile::default());
    let lines = ablation(&unshifted, &profile, 0).unwrap();
    let report = &unshifted.stored.report;
    assert!((lines[0].accuracy.share - report.main_accuracy()).abs() < 1e-12);
    assert!(lines[0].change.is_none() && lines[0].extended < 1e-12);
    assert!(lines[1].extended > 0.3 && lines[1].spent.edge_macs > lines[0].spent.edge_macs);
    let change = lines[1].change.unwrap();
    let shares = lines[1].accuracy.share - lines[0].accuracy.share;
    assert!((change.share - shares).abs() < 1e-12);
    // All hard classes are all that this extension can answer: no other table can be drawn.
    assert!(!lines.iter().any(|line| line.name.contains("random")));
}

#[test]
fn a_table_of_other_classes_is_drawn_where_the_extension_knows_more() {
    let mut unshifted = unshifted();
    for outputs in [&mut unshifted.stored.selection, &mut unshifted.stored.report] {
        outputs.hard_classes = vec![1];
    }
    let profile = EnergyProfile::default();
    let random = |seed| {
        let lines = ablation(&unshifted, &profile, seed).unwrap();
        lines
            .into_iter()
            .find(|line| line.name.contains("random"))
            .unwrap()
    };
    assert_eq!(random(3), random(3), "the same seed draws the same tables");
    assert!(random(3).note.unwrap().contains("10 draws"));
}

#[test]
fn a_plain_cascade_is_matched_in_bytes_and_in_joules() {
    let (unshifted, profile) = (unshifted(), EnergyProfile::default());
    let report = &unshifted.stored.report;
    let peer = Peer {
        name: "ResNet56".to_owned(),
        logits: report.cloud.clone(),
        macs: 4000,
    };
    let found = cascade(&unshifted, &[peer], &profile).unwrap().unwrap();
    assert!((found.cloud_only.accuracy.share - report.cloud_accuracy().unwrap()).abs() < 1e-12);
    for budget in &found.budgets {
        let line = |name: &str| budget.lines.iter().find(|line| line.name == name).unwrap();
        let (meanet, bytes) = (line("MEANet"), line("plain cascade, equal bytes"));
        // Images with equal scores go or stay together.
        assert!((meanet.offload - bytes.offload).abs() < 0.05, "{budget:?}");
        let joules = line("plain cascade, equal joules").spent.joules;
        assert!(
            (joules - meanet.spent.joules).abs() < 0.05 * meanet.spent.joules.max(1e-3),
            "{budget:?}"
        );
        assert!(
            budget
                .lines
                .iter()
                .any(|line| line.name.contains("from ResNet56"))
        );
    }
    // Held-out and test images are the same here, so limits are kept to, and no budget below them is more accurate.
    let thrifty = found.thrifty.unwrap();
    assert!(thrifty.offload <= 0.475, "{thrifty:?}");
    assert!(
        thrifty.spent.joules <= 0.95 * found.cloud_only.spent.joules,
        "{thrifty:?}"
    );
    for budget in found.budgets.iter().filter(|budget| budget.at_most < 0.475) {
        for line in budget.lines.iter().filter(|line| line.name == "MEANet") {
            assert!(line.accuracy.share <= thrifty.accuracy.share, "{budget:?}");
        }
    }
    let mut alone = unshifted;
    alone.stored.selection.cloud.clear();
    alone.stored.report.cloud.clear();
    assert!(cascade(&alone, &[], &profile).unwrap().is_none());
}

#[test]
fn a_claim_is_reproduced_only_outside_of_noise() {
    let (unshifted, profile) = (unshifted(), EnergyProfile::default());
    let judge = |outputs| {
        let evidence = Evidence {
            network: "ResNet32".to_owned(),
            outputs,
            costs: unshifted.stored.config.costs(),
            profile: &profile,
            offload_above: 0.9,
            has_seen_all: false,
            note: String::new(),
        };
        claims(&evidence).unwrap()
    };
    let report = &unshifted.stored.report;
    assert_eq!(judge(report).len(), 5);
    // An extension that is asked about nothing changes nothing.
    let none = Unshifted::with_hard(report, Vec::new());
    assert_eq!(judge(&none)[0].verdict, Verdict::WithinNoise);
    // One that is always wrong spoils what the main block had right.
    let wrong = |label: u32| vec![f32::from(u8::from(label != 1)), f32::from(u8::from(label != 3))];
    let spoilt = unshifted.with_extension(report.labels.iter().map(|&label| wrong(label)).collect());
    let main = local(&edge(&none, ExtensionRule::Extension).unwrap()).answers();
    assert!(Proportion::of(&main).share > 0.5);
    assert_eq!(judge(&spoilt)[0].verdict, Verdict::NotReproduced);
    assert!(
        not_tried("MobileNetV2")
            .iter()
            .all(|claim| claim.verdict == Verdict::NotTried)
    );
}

#[test]
fn aims_say_by_how_much_they_are_missed_and_the_page_says_all() {
    let (unshifted, profile) = (unshifted(), EnergyProfile::default());
    let mut results = results();
    assert!(aims(&results).is_empty(), "nothing measured, nothing said");
    results.ablation = ablation(&unshifted, &profile, 0).unwrap();
    results.cascade = cascade(&unshifted, &[], &profile).unwrap();
    results.claims = not_tried("ResNet32");
    results.missing = vec!["noise:2, nothing done".to_owned()];
    results.aims = aims(&results);
    assert_eq!(results.aims.len(), 2);
    assert!(results.aims[0].by.contains("points"), "{:?}", results.aims);

    let folder = tempfile::tempdir().unwrap();
    results.write(folder.path()).unwrap();
    let page = std::fs::read_to_string(folder.path().join("results.md")).unwrap();
    for said in [
        "trained by others",
        "sha256:0123456789ab",
        "## Not run",
        "not tried",
        "results/accuracy-by-energy.svg",
    ] {
        assert!(page.contains(said), "the page does not say {said}: {page}");
    }
    assert!(!page.contains("NaN"), "{page}");
    assert!(document(&results, &[]).contains("## Adaptation under shift"));
}

#[test]
fn the_page_in_docs_is_what_its_figures_say() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
    let results: Results = serde_json::from_str(&read("results.json")).unwrap();
    let plots = super::plots::plots(&results);
    assert!(
        document(&results, &plots) == read("results.md"),
        "docs/results.md was edited, or the page is written differently now: run make reproduce"
    );
    for (name, plot) in &plots {
        assert_eq!(read(&format!("results/{name}.svg")), plot.file());
    }
}

#[test]
fn costs_are_those_of_the_network_that_runs() {
    let costs = unshifted().stored.config.costs();
    assert_eq!(
        costs,
        Costs {
            main_macs: 1000,
            extension_macs: 2000,
            cloud_macs: 4000,
            image_bytes: 3072
        }
    );
}
