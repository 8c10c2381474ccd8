use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use meanet_crds::MEANetRevision;
use meanet_crds::deployment::NodeSummary;
use meanet_crds::node::NodeState;

use super::history::{History, same_weights};
use super::import::remaining;
use super::lineage::Target;
use crate::deployment::observe::{EdgeNode, Observed, TwinSeen};
use crate::deployment::validate::Validated;

mod verdict;

/// How long it may take until every node finds a cloud pod that has just begun to serve the store.
const SETTLE: Duration = Duration::from_secs(10);

/// What is wanted on every node, and how that stands.
#[derive(Clone, Debug)]
pub(super) struct Rollout {
    /// One twin for each node selected.
    pub twins: BTreeMap<String, TwinPlan>,
    pub summary: NodeSummary,
    /// The revision that every reachable node has.
    pub current: Option<String>,
    pub verdict: meanet_crds::condition::Verdict,
    pub look_again: Option<Duration>,
}

/// What is wanted on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwinPlan {
    /// The revision.
    pub revision: Option<String>,
    /// Since when it is wanted.
    pub since: Timestamp,
    /// Wish, report and node, judged together.
    pub state: NodeState,
}

/// Why no further node gets new weights.
#[derive(Clone, Debug)]
enum Obstacle {
    Failed { node: String, message: Option<String> },
    Overdue { node: String, message: Option<String> },
}

/// Decides for every node.
///
/// - A node whose weights are those of the target gets it at once: only routing differs.
/// - Every other reachable node waits for its turn, by name, at most `maxInFlight` at a time; none gets a turn while a
///   reachable one has failed or is overdue. Meanwhile a routing edit reaches it as a revision of its own weights.
/// - A node that cannot be reached keeps what it has until it returns.
/// - While no cloud pod serves the store, nobody is sent to fetch from it: new weights wait, and so does a node that has
///   none. A pinned revision does not wait, since nodes may still have its weights.
/// - A new node gets the target, or during a rollout what the others start from.
pub(super) fn rollout(
    observed: &Observed,
    spec: &Validated,
    target: &Target,
    history: &mut History,
    now: Timestamp,
) -> Rollout {
    let before = observed
        .deployment
        .status
        .as_ref()
        .and_then(|status| status.current_revision.clone());
    let before = before.filter(|name| history.get(name).is_some());
    let fleet = Fleet {
        observed,
        spec,
        target: target.revision().cloned(),
        before: before.clone(),
        now,
    };
    let frozen = spec.rollout.paused || fleet.target.is_none();
    let rolling = fleet.rolling(history);
    let mut wanted: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (node, seen, _) in fleet.nodes() {
        let wish = if frozen {
            fleet.keep(seen)
        } else {
            fleet.without_a_turn(seen, rolling, history)
        };
        wanted.insert(node.to_owned(), wish);
    }
    let obstacle = fleet.obstacle(history);
    if !frozen && obstacle.is_none() {
        for node in fleet.turns(&wanted, history) {
            wanted.insert(node, target.name());
        }
    }
    let twins: BTreeMap<_, _> = wanted
        .into_iter()
        .map(|(node, revision)| (node.clone(), fleet.twin(&node, revision)))
        .collect();
    // It stops the others all the same, but nobody need look yet.
    let obstacle =
        obstacle.filter(|obstacle| fleet.settled() || matches!(obstacle, Obstacle::Overdue { .. }));
    let summary = fleet.summary(&twins);
    let complete = fleet.complete(&twins);
    Rollout {
        verdict: verdict::verdict(&fleet, target, &twins, &summary, obstacle.as_ref()),
        current: if complete { target.name() } else { before },
        look_again: fleet.next_deadline().into_iter().chain(fleet.settles()).min(),
        summary,
        twins,
    }
}

/// The nodes selected, and what they are to become.
struct Fleet<'a> {
    observed: &'a Observed,
    spec: &'a Validated,
    target: Option<Arc<MEANetRevision>>,
    before: Option<String>,
    now: Timestamp,
}

static UNSEEN: TwinSeen = TwinSeen {
    wanted: None,
    since: None,
    live: None,
    phase: None,
    answered: false,
    message: None,
};

impl Fleet<'_> {
    /// Every node selected, by name.
    fn nodes(&self) -> impl Iterator<Item = (&str, &TwinSeen, &EdgeNode)> {
        self.observed.edge_nodes.iter().map(|(name, node)| {
            (
                name.as_str(),
                self.observed.twins.get(name).unwrap_or(&UNSEEN),
                node,
            )
        })
    }

    fn is_target(&self, name: Option<&String>, history: &History) -> bool {
        let revision = name.and_then(|name| history.get(name));
        self.target
            .as_ref()
            .zip(revision)
            .is_some_and(|(target, revision)| same_weights(target, revision))
    }

    /// Nothing moves; a new node gets what the others had when they last agreed.
    fn keep(&self, seen: &TwinSeen) -> Option<String> {
        seen.wanted.clone().or_else(|| self.before.clone())
    }

    /// What a node may have without waiting for its turn.
    fn without_a_turn(&self, seen: &TwinSeen, rolling: bool, history: &mut History) -> Option<String> {
        let target = self.target.as_ref()?;
        if self.is_target(seen.wanted.as_ref(), history) || self.is_target(seen.live.as_ref(), history) {
            return Some(target.name_any());
        }
        if seen.wanted.is_none() && !self.store() {
            return None;
        }
        let start = match &seen.wanted {
            Some(wanted) => wanted.clone(),
            None if rolling => self.before.clone().unwrap_or_else(|| target.name_any()),
            None => return Some(target.name_any()),
        };
        // A pinned revision is a rollback of weights and routing together: nothing new is made on the way.
        let reroute = self.spec.rollout.pinned.is_none();
        match history.get(&start).cloned() {
            Some(revision) if reroute => Some(history.rerouted(&revision, &self.spec.routing)),
            _ => Some(start),
        }
    }

    /// Weights can be fetched.
    fn store(&self) -> bool {
        self.observed
            .cloud
            .as_ref()
            .is_some_and(|cloud| cloud.available > 0)
    }

    /// The store has been served for long enough that every node can have reached it: a node that could not load before
    /// tries again by itself.
    fn settled(&self) -> bool {
        self.store() && self.settles().is_none()
    }

    fn settles(&self) -> Option<Duration> {
        let since = self.observed.cloud.as_ref()?.since?;
        remaining(SETTLE, since, self.now).filter(|_| self.store())
    }

    /// Some node wants other weights than the target's.
    fn rolling(&self, history: &History) -> bool {
        self.nodes()
            .any(|(_, seen, _)| seen.wanted.is_some() && !self.is_target(seen.wanted.as_ref(), history))
    }

    /// Reachable nodes that were told to load the target's weights and have not brought them into service.
    fn in_flight(&self, history: &History) -> impl Iterator<Item = (&str, &TwinSeen, &EdgeNode)> {
        self.nodes().filter(move |(_, seen, node)| {
            node.ready
                && self.is_target(seen.wanted.as_ref(), history)
                && !self.is_target(seen.live.as_ref(), history)
        })
    }

    fn obstacle(&self, history: &History) -> Option<Obstacle> {
        let sent = || {
            self.nodes()
                .filter(|(_, seen, node)| node.ready && self.is_target(seen.wanted.as_ref(), history))
        };
        let failed = sent()
            .find(|(_, seen, _)| seen.failed())
            .map(|(node, seen, _)| Obstacle::Failed {
                node: node.to_owned(),
                message: seen.message.clone(),
            });
        failed.or_else(|| {
            sent()
                .find(|(_, seen, node)| !seen.synced() && self.left(seen, node).is_none())
                .map(|(node, seen, _)| Obstacle::Overdue {
                    node: node.to_owned(),
                    message: seen.message.clone(),
                })
        })
    }

    /// Time a node has left until the progress deadline; it does not run while the node is out of reach.
    fn left(&self, seen: &TwinSeen, node: &EdgeNode) -> Option<Duration> {
        let Some(since) = seen.since.max(node.since.filter(|_| seen.since.is_some())) else {
            return Some(self.spec.rollout.deadline);
        };
        remaining(self.spec.rollout.deadline, since, self.now)
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.nodes()
            .filter(|(_, seen, node)| node.ready && seen.wanted.is_some() && !seen.synced())
            .filter_map(|(_, seen, node)| self.left(seen, node))
            .min()
    }

    /// Nodes that get their turn now.
    fn turns(&self, wanted: &BTreeMap<String, Option<String>>, history: &History) -> Vec<String> {
        if !self.store() && self.spec.rollout.pinned.is_none() {
            return Vec::new();
        }
        let free = self
            .spec
            .rollout
            .max_in_flight
            .saturating_sub(self.in_flight(history).count());
        self.nodes()
            .filter(|(name, _, node)| {
                node.ready && !self.is_target(wanted.get(*name).and_then(Option::as_ref), history)
            })
            .take(free)
            .map(|(name, _, _)| name.to_owned())
            .collect()
    }

    fn twin(&self, node: &str, revision: Option<String>) -> TwinPlan {
        let seen = self.observed.twins.get(node).unwrap_or(&UNSEEN);
        let ready = self.observed.edge_nodes.get(node).is_some_and(|node| node.ready);
        let unchanged = revision == seen.wanted;
        let state = match ready {
            false => NodeState::Offline,
            true if unchanged && seen.synced() => NodeState::Synced,
            true if unchanged && seen.failed() && self.settled() => NodeState::Failed,
            true => NodeState::Pending,
        };
        let since = seen.since.filter(|_| unchanged).unwrap_or(self.now);
        TwinPlan {
            revision,
            since,
            state,
        }
    }

    fn on_target(&self, twin: &TwinPlan) -> bool {
        twin.state == NodeState::Synced
            && twin.revision == self.target.as_ref().map(|target| target.name_any())
    }

    /// Every reachable node, and there is one, has the target in service.
    fn complete(&self, twins: &BTreeMap<String, TwinPlan>) -> bool {
        let mut reachable = twins
            .values()
            .filter(|twin| twin.state != NodeState::Offline)
            .peekable();
        reachable.peek().is_some() && reachable.all(|twin| self.on_target(twin))
    }

    /// Some node has not been told of the target yet.
    fn waits(&self, twins: &BTreeMap<String, TwinPlan>) -> bool {
        let target = self.target.as_ref().map(|target| target.name_any());
        twins
            .values()
            .any(|twin| twin.state != NodeState::Offline && twin.revision != target)
    }

    fn summary(&self, twins: &BTreeMap<String, TwinPlan>) -> NodeSummary {
        let count = |is: &dyn Fn(&TwinPlan) -> bool| {
            i32::try_from(twins.values().filter(|twin| is(twin)).count()).unwrap_or(i32::MAX)
        };
        let selected = count(&|_| true);
        let synced = count(&|twin| self.on_target(twin));
        let offline = count(&|twin| twin.state == NodeState::Offline);
        let failed = count(&|twin| twin.state == NodeState::Failed);
        NodeSummary {
            summary: format!("{synced}/{selected}"),
            selected,
            synced,
            pending: selected - synced - offline - failed,
            offline,
            failed,
        }
    }
}
