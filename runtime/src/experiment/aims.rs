//! What was aimed at, and by how much it was met or missed.

use serde::{Deserialize, Serialize};

use super::results::Results;
use super::shift::Way;

/// Points above its main block that the edge by itself should be.
const EDGE_GAIN: f64 = 0.015;
/// Share of the lost accuracy that adaptive and extension block should win back.
const WON_BACK: f64 = 0.5;
/// Bytes that this may ship.
const SHIPPED: u64 = 2_000_000;
/// Points below the cloud alone that edge and cloud together may be.
const CLOUD_LOSS: f64 = 0.005;
/// Share that may leave the edge for that.
pub(super) const OFFLOAD: f64 = 0.5;
/// Share of the memory of training everything that training adaptive and extension block may take.
const MEMORY: f64 = 1.0 / 3.0;

/// One aim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Aim {
    pub(super) aim: String,
    pub(super) measured: String,
    pub(super) met: bool,
    /// By how much it is met or missed.
    pub(super) by: String,
}

/// Aims that the results say something about.
pub(super) fn aims(results: &Results) -> Vec<Aim> {
    let mut aims = Vec::new();
    aims.extend(edge_gain(results));
    aims.extend(with_cloud(results));
    aims.extend(results.shifts.iter().filter_map(|shifted| {
        let way = shifted.ways.iter().find(|way| way.way == Way::Extension)?;
        Some(Aim {
            aim: format!(
                "{}: half of the lost accuracy won back by shipping under 2 MB",
                shifted.shift
            ),
            measured: format!(
                "{:.0} % won back ({:.2} → {:.2} %), {:.2} MB shipped{}",
                100.0 * way.won_back,
                100.0 * shifted.edge.share,
                100.0 * way.shifted.share,
                way.shipped_bytes as f64 / 1e6,
                if way.accepted == Some(false) {
                    "; held back by the gate"
                } else {
                    ""
                }
            ),
            met: way.won_back >= WON_BACK && way.shipped_bytes < SHIPPED && way.accepted != Some(false),
            by: format!("{:+.0} %", 100.0 * (way.won_back - WON_BACK)),
        })
    }));
    aims.extend(results.memory.map(|memory| {
        let share = memory.extension as f64 / memory.whole.max(1) as f64;
        Aim {
            aim: "training adaptive and extension block takes at most a third of the memory of training everything".to_owned(),
            measured: format!(
                "{:.0} MB against {:.0} MB at batch {}",
                memory.extension as f64 / 1e6,
                memory.whole as f64 / 1e6,
                memory.batch
            ),
            met: share <= MEMORY,
            by: format!("{:.0} % instead of 33 %", 100.0 * share),
        }
    }));
    aims
}

fn edge_gain(results: &Results) -> Option<Aim> {
    let edge = results.ablation.get(1)?;
    let change = edge.change?;
    Some(Aim {
        aim: "the edge by itself is at least 1.5 points above its main block alone".to_owned(),
        measured: format!(
            "{:+.2} ± {:.2} points",
            100.0 * change.share,
            100.0 * change.reach
        ),
        met: change.share >= EDGE_GAIN,
        by: format!("{:+.2} points", 100.0 * (change.share - EDGE_GAIN)),
    })
}

/// With the thrifty threshold; where nothing pays, with that of the largest budget that keeps to the share allowed.
fn with_cloud(results: &Results) -> Option<Aim> {
    let cascade = results.cascade.as_ref()?;
    let budget = cascade.budgets.iter().rfind(|budget| budget.at_most <= OFFLOAD)?;
    let budgeted = budget.lines.iter().find(|line| line.name == "MEANet")?;
    let line = cascade.thrifty.as_ref().unwrap_or(budgeted);
    let cloud = &cascade.cloud_only;
    let loss = cloud.accuracy.share - line.accuracy.share;
    let saved = 1.0 - line.spent.joules / cloud.spent.joules.max(f64::MIN_POSITIVE);
    Some(Aim {
        aim: "with the cloud within 0.5 points of the cloud alone, at most half of the images sent, and less energy".to_owned(),
        measured: format!(
            "{:.2} % against {:.2} %, {:.1} % sent, {:.2} mJ against {:.2} mJ",
            100.0 * line.accuracy.share,
            100.0 * cloud.accuracy.share,
            100.0 * line.offload,
            1e3 * line.spent.joules,
            1e3 * cloud.spent.joules
        ),
        met: loss <= CLOUD_LOSS && line.offload <= OFFLOAD && saved > 0.0,
        by: format!("{:+.2} points, {:+.0} % energy", 100.0 * (CLOUD_LOSS - loss), -100.0 * saved),
    })
}
