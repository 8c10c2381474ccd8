//! Plans of clusters written down, and of clusters made up at random and played to their end.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use meanet_crds::deployment::{MEANetDeploymentStatus, RetrainingPhase};
use meanet_crds::naming::ANNOTATION_RETRAIN;
use meanet_crds::node::{EdgePhase, NodeState};
use meanet_crds::revision::{Cause, Evaluation, Weights};
use meanet_crds::{JobReport, MEANetDeployment, MEANetRevision, condition};
use serde_json::{Value, json};

use super::*;
use crate::deployment::observe::{
    CloudNode, CloudSeen, EdgeNode, JobSeen, Outcome, Progress, StoreClaim, Troubles,
};
use crate::deployment::validate::{Images, validate};

mod conditions;
mod random;
mod retraining;
mod scenarios;

const START: i64 = 1_800_000_000;

/// A cluster in memory, in which plans come true at once.
#[derive(Clone)]
struct World {
    observed: Observed,
    now: Timestamp,
}

impl World {
    /// Nodes of these names, a cloud node with an accelerator, a bound claim, and a deployment without weights.
    fn new(nodes: &[&str]) -> Self {
        let spec = json!({
            "model": {"backbone": "ResNet20", "classes": 100, "weights": {"digest": format!("sha256:{}", "0".repeat(64))}},
            "store": {"persistentVolumeClaim": {"claimName": "store"}},
        });
        let mut deployment = MEANetDeployment::new("cams", serde_json::from_value(spec).unwrap());
        deployment.metadata.namespace = Some("shop".to_owned());
        deployment.metadata.uid = Some("uid".to_owned());
        let ready = EdgeNode {
            ready: true,
            since: Some(Timestamp::UNIX_EPOCH),
        };
        Self {
            observed: Observed {
                deployment: Arc::new(deployment),
                revisions: Vec::new(),
                twins: BTreeMap::new(),
                edge_nodes: nodes.iter().map(|name| ((*name).to_owned(), ready)).collect(),
                cloud_nodes: vec![CloudNode {
                    ready: true,
                    extended: [("nvidia.com/gpu".to_owned(), 1)].into(),
                }],
                claim: StoreClaim::Usable,
                jobs: Vec::new(),
                edge_pods_ready: Some(i32::try_from(nodes.len()).unwrap()),
                cloud: Some(CloudSeen {
                    wanted: 1,
                    available: 1,
                    since: None,
                    updated: true,
                }),
                troubles: Troubles::default(),
            },
            now: Timestamp::from_second(START).unwrap(),
        }
    }

    /// One whose first weights are live everywhere.
    fn running(nodes: &[&str]) -> Self {
        let mut world = Self::new(nodes);
        world.imported();
        world.settle();
        world
    }

    fn edit(&mut self, change: impl FnOnce(&mut MEANetDeployment)) {
        change(Arc::make_mut(&mut self.observed.deployment));
    }

    fn patch(&mut self, spec: &Value) {
        self.edit(|deployment| {
            let mut value = serde_json::to_value(&deployment.spec).unwrap();
            merge(&mut value, spec);
            deployment.spec = serde_json::from_value(value).unwrap();
        });
    }

    fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn plan(&self) -> Plan {
        plan(
            &self.observed,
            &validate(&self.observed.deployment, &Images::installed()).unwrap(),
            self.now,
        )
    }

    /// Plans, and makes it so.
    fn step(&mut self) -> Plan {
        let plan = self.plan();
        let seen = self.observed.clone();
        self.comes_true(&plan, &seen);
        plan
    }

    /// A step of an operator whose caches lag behind and show what was `seen` a while ago. The revisions that it made it
    /// remembers, and before a run starts it asks the API server itself.
    fn stale_step(&mut self, seen: &Observed) {
        let mut seen = seen.clone();
        let gone: Vec<_> = seen
            .revisions
            .iter()
            .filter(|old| {
                self.observed
                    .revisions
                    .iter()
                    .all(|new| new.name_any() != old.name_any())
            })
            .cloned()
            .collect();
        seen.revisions = self.observed.revisions.iter().cloned().chain(gone).collect();
        seen.revisions.sort_by_key(|revision| revision.spec.number);
        let plan = plan(
            &seen,
            &validate(&seen.deployment, &Images::installed()).unwrap(),
            self.now,
        );
        let runs = |observed: &Observed| {
            observed
                .deployment
                .status
                .as_ref()
                .map(|status| status.retraining.clone())
        };
        let starts = |job: &str| seen.jobs.iter().all(|there| there.name != job);
        if plan.train.as_ref().is_some_and(|(start, _)| starts(&start.job))
            && runs(&seen) != runs(&self.observed)
        {
            return;
        }
        self.comes_true(&plan, &seen);
    }

    /// Makes a plan so, as the operator does: what looks right in what was `seen` is not written.
    fn comes_true(&mut self, plan: &Plan, seen: &Observed) {
        let observed = &mut self.observed;
        for draft in &plan.drafts {
            if observed
                .revisions
                .iter()
                .all(|there| there.name_any() != draft.name_any())
            {
                observed.revisions.push(draft.clone());
            }
        }
        observed
            .revisions
            .retain(|revision| !plan.prune.contains(&revision.name_any()));
        for (node, wish) in &plan.twins {
            let before = seen.twins.get(node);
            if before.is_some_and(|twin| twin.wanted == wish.revision && twin.since == Some(wish.since)) {
                continue;
            }
            let twin = observed.twins.entry(node.clone()).or_default();
            twin.answered &= twin.wanted == wish.revision;
            twin.wanted.clone_from(&wish.revision);
            twin.since = Some(wish.since);
        }
        observed
            .twins
            .retain(|node, _| plan.twins.contains_key(node) || !seen.twins.contains_key(node));
        let deleted = |job: &JobSeen| {
            plan.delete_jobs.contains(&job.name)
                && seen
                    .jobs
                    .iter()
                    .any(|old| (&old.name, old.created) == (&job.name, job.created))
        };
        observed.jobs.retain(|job| !deleted(job));
        if let Some(name) = &plan.import
            && !observed
                .jobs
                .iter()
                .chain(&seen.jobs)
                .any(|job| job.name == *name)
        {
            observed.jobs.push(job(name, Component::Import, self.now));
        }
        if let Some((start, base)) = &plan.train
            && !observed
                .jobs
                .iter()
                .chain(&seen.jobs)
                .any(|job| job.name == start.job)
        {
            let job = job(&start.job, Component::Train, self.now);
            observed.jobs.push(JobSeen {
                base: Some(base.name_any()),
                request: Some(start.request.clone()),
                ..job
            });
        }
        let status = MEANetDeploymentStatus {
            current_revision: plan.current.clone(),
            target_revision: plan.target.clone(),
            retraining: plan.retraining.clone(),
            ..MEANetDeploymentStatus::default()
        };
        if seen.deployment.status.as_ref() != Some(&status) {
            self.edit(|deployment| deployment.status = Some(status));
        }
    }

    /// The edge runtime of a node brings what is wanted into service.
    fn live(&mut self, node: &str) {
        if let Some(twin) = self.observed.twins.get_mut(node)
            && twin.wanted.is_some()
        {
            twin.live.clone_from(&twin.wanted);
            twin.phase = Some(EdgePhase::Live);
            twin.answered = true;
        }
    }

    /// The edge runtime of a node cannot load what is wanted.
    fn fails(&mut self, node: &str) {
        if let Some(twin) = self.observed.twins.get_mut(node)
            && twin.wanted.is_some()
            && twin.live != twin.wanted
        {
            twin.phase = Some(EdgePhase::Failed);
            twin.answered = true;
        }
    }

    fn reachable(&mut self, node: &str, ready: bool) {
        let since = Some(self.now);
        if let Some(seen) = self.observed.edge_nodes.get_mut(node) {
            *seen = EdgeNode { ready, since };
        }
    }

    fn ends(&mut self, component: Component, outcome: Outcome) {
        let running = |job: &&mut JobSeen| job.component == component && !job.finished();
        if let Some(job) = self.observed.jobs.iter_mut().rev().find(running) {
            job.outcome = outcome;
        }
    }

    fn imported(&mut self) {
        self.step();
        self.ends(Component::Import, success('a', None));
        self.step();
    }

    /// Asks for retraining, which ends with these blocks and this gain.
    fn retrained(&mut self, digit: char, gain: f64) -> Plan {
        self.ask(&digit.to_string());
        self.step();
        self.ends(Component::Train, success(digit, Some(gain)));
        self.step()
    }

    fn ask(&mut self, request: &str) {
        self.edit(|deployment| {
            deployment
                .annotations_mut()
                .insert(ANNOTATION_RETRAIN.to_owned(), request.to_owned());
        });
    }

    /// Every reachable edge works, until nothing changes.
    fn settle(&mut self) -> Plan {
        let nodes: Vec<_> = self.observed.edge_nodes.keys().cloned().collect();
        for _ in 0..nodes.len() * 2 + 4 {
            self.step();
            for node in &nodes {
                if self.observed.edge_nodes[node].ready {
                    self.live(node);
                }
            }
        }
        self.step()
    }

    fn wants(&self, node: &str) -> Option<String> {
        self.observed.twins[node].wanted.clone()
    }
}

fn job(name: &str, component: Component, now: Timestamp) -> JobSeen {
    let outcome = Outcome::Running(Progress::Quiet);
    JobSeen {
        name: name.to_owned(),
        component,
        created: Some(now),
        request: None,
        base: None,
        outcome,
    }
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn success(digit: char, gain: Option<f64>) -> Outcome {
    Outcome::Reported {
        report: JobReport::Succeeded {
            weights: Weights {
                main: digest('1'),
                adaptive: digest(digit),
                extension: digest(digit),
                cloud: Some(digest('2')),
            },
            hard_classes: vec![1, 2],
            evaluation: gain.map(|gain| Evaluation {
                samples: 10,
                accuracy: 0.5 + gain,
                baseline_accuracy: Some(0.5),
                margin_of_error: Some(0.0),
                ..Evaluation::default()
            }),
        },
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn verdict<'a>(plan: &'a Plan, type_: &str) -> &'a Verdict {
    plan.verdicts
        .iter()
        .find(|verdict| verdict.type_ == type_)
        .unwrap()
}
