use std::collections::BTreeMap;

use kube::ResourceExt;
use meanet_crds::condition::{PROGRESSING, Verdict};
use meanet_crds::deployment::NodeSummary;
use meanet_crds::node::NodeState;

use super::{Fleet, Obstacle, TwinPlan};
use crate::deployment::plan::lineage::Target;

/// How a rollout stands, in words.
pub(super) fn verdict(
    fleet: &Fleet<'_>,
    target: &Target,
    twins: &BTreeMap<String, TwinPlan>,
    summary: &NodeSummary,
    obstacle: Option<&Obstacle>,
) -> Verdict {
    let no = |reason, message| Verdict::no(PROGRESSING, reason, message);
    let revision = match target {
        Target::None => {
            return Verdict::unknown(PROGRESSING, "NoRevision", "there are no weights to roll out yet");
        }
        Target::PinMissing(pinned) => {
            return no(
                "PinnedRevisionMissing",
                format!(
                    "spec.rollout.pinnedRevision names {pinned}, which is not in the history, so every node keeps what it \
                     has: choose one of `kubectl get mearev -n {}`",
                    fleet.spec.namespace
                ),
            );
        }
        Target::Revision(revision) => revision.name_any(),
    };
    let count = format!(
        "{} of {} nodes are on {revision}",
        summary.synced, summary.selected
    );
    if summary.selected == 0 {
        return no("Complete", format!("{revision} waits for the first node"));
    }
    if summary.synced + summary.offline == summary.selected {
        let pinned = if fleet.spec.rollout.pinned.is_some() {
            "; pinned, so newer revisions wait"
        } else {
            ""
        };
        let offline = match summary.offline {
            0 => String::new(),
            offline => format!("; {offline} out of reach, caught up on return"),
        };
        return no("Complete", format!("{count}{offline}{pinned}"));
    }
    if fleet.spec.rollout.paused {
        return no(
            "Paused",
            format!("{count}; set spec.rollout.paused to false to go on"),
        );
    }
    match obstacle {
        Some(Obstacle::Failed { node, message }) => no(
            "NodeFailed",
            format!(
                "{count}; node {node} could not load it{}; the rollout goes on when it can",
                said(message.as_ref())
            ),
        ),
        Some(Obstacle::Overdue { node, message }) => no(
            "ProgressDeadlineExceeded",
            format!(
                "{count}; node {node} has not brought it into service within {}{}; see its edge pod; the rollout goes on \
                 when it has",
                meanet_crds::Duration::from_millis(
                    u64::try_from(fleet.spec.rollout.deadline.as_millis()).unwrap_or(u64::MAX)
                ),
                said(message.as_ref())
            ),
        ),
        None if !fleet.store() && fleet.waits(twins) => Verdict::yes(
            PROGRESSING,
            "RollingOut",
            format!("{count}; new weights wait for the store: no cloud pod serves it yet"),
        ),
        None => Verdict::yes(
            PROGRESSING,
            "RollingOut",
            format!("{count}; loading on {}", loading(twins, &revision)),
        ),
    }
}

fn said(message: Option<&String>) -> String {
    message.map(|message| format!(": {message}")).unwrap_or_default()
}

fn loading(twins: &BTreeMap<String, TwinPlan>, target: &str) -> String {
    const MOST: usize = 5;
    let mut nodes: Vec<_> = twins
        .iter()
        .filter(|(_, twin)| twin.state == NodeState::Pending && twin.revision.as_deref() == Some(target))
        .map(|(node, _)| node.as_str())
        .collect();
    if nodes.is_empty() {
        return "none yet".to_owned();
    }
    let more = nodes.len().saturating_sub(MOST);
    nodes.truncate(MOST);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", nodes.join(", "))
}
