use std::collections::BTreeMap;

use meanet_crds::condition::{PREFLIGHT_PASSED, Verdict};
use meanet_crds::deployment::Accelerator;

use crate::deployment::observe::{Observed, StoreClaim};
use crate::deployment::validate::{Serving, Validated};

/// What the cluster lacks, in words, with what to do about it. Nothing that runs is taken down for it.
pub(super) fn preflight(observed: &Observed, spec: &Validated) -> Verdict {
    let problems: Vec<_> = [edge(observed, spec), cloud(observed, spec), claim(observed, spec)]
        .into_iter()
        .flatten()
        .collect();
    let Some((reason, _)) = problems.first() else {
        let text = format!(
            "{} edge nodes, {} cloud nodes, claim {}",
            observed.edge_nodes.len(),
            observed.cloud_nodes.len(),
            spec.claim
        );
        return Verdict::yes(PREFLIGHT_PASSED, "Passed", text);
    };
    let words: Vec<_> = problems.iter().map(|(_, words)| words.as_str()).collect();
    Verdict::no(PREFLIGHT_PASSED, reason, words.join("; "))
}

type Problem = Option<(&'static str, String)>;

fn edge(observed: &Observed, spec: &Validated) -> Problem {
    observed.edge_nodes.is_empty().then(|| {
        (
            "NoEdgeNode",
            no_node("spec.edge.nodeSelector", &spec.edge.selector),
        )
    })
}

fn cloud(observed: &Observed, spec: &Validated) -> Problem {
    if observed.cloud_nodes.is_empty() {
        return Some((
            "NoCloudNode",
            no_node("spec.cloud.nodeSelector", &spec.cloud.selector),
        ));
    }
    let Serving::Own {
        accelerator: Some(Accelerator { resource, count }),
        ..
    } = &spec.serving
    else {
        return None;
    };
    let offers = observed
        .cloud_nodes
        .iter()
        .filter_map(|node| node.extended.get(resource))
        .max()
        .copied()
        .unwrap_or(0);
    (offers < i64::from(*count)).then(|| {
        let found = if offers == 0 { "none does".to_owned() } else { format!("the most that one offers is {offers}") };
        let text = format!(
            "cloud runtimes take {count} {resource}, but of the nodes with {} {found}: install the device plugin that \
             offers it there, or set spec.cloud.accelerator.count to 0 to serve from the CPU",
            labels(&spec.cloud.selector)
        );
        ("NoAccelerator", text)
    })
}

fn claim(observed: &Observed, spec: &Validated) -> Problem {
    let name = &spec.claim;
    match &observed.claim {
        StoreClaim::Usable => None,
        StoreClaim::Missing => Some((
            "ClaimMissing",
            format!(
                "there is no PersistentVolumeClaim {name} in namespace {}: create it",
                spec.namespace
            ),
        )),
        StoreClaim::Lost => Some((
            "ClaimLost",
            format!(
                "the volume of PersistentVolumeClaim {name} is gone: restore it, or name another claim in spec.store"
            ),
        )),
        StoreClaim::Pending(why) => Some((
            "ClaimNotBound",
            format!("PersistentVolumeClaim {name} is not bound: {why}; see `kubectl describe pvc {name}`"),
        )),
    }
}

fn no_node(field: &str, selector: &BTreeMap<String, String>) -> String {
    let labels = labels(selector);
    format!(
        "no node matches {field} ({labels}): label one, `kubectl label node NODE {}`",
        labels.replace(',', " ")
    )
}

fn labels(selector: &BTreeMap<String, String>) -> String {
    selector
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}
