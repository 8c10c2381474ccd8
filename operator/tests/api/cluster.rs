//! Plays node, kubelet, controllers and edge runtimes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use meanet_crds::MEANetNode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::world::{NAMESPACE, World, until};

const TIME: &str = "2030-01-01T00:00:00Z";

impl World {
    pub async fn node(&self, name: &str, tier: &str) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        self.create(
            &nodes,
            json!({"metadata": {"name": name, "labels": {"meanet.dev/tier": tier}}}),
        )
        .await;
        self.reachable(name, true).await;
        if tier == "cloud" {
            let gpu = json!({"nvidia.com/gpu": "1"});
            let patch = json!({"status": {"capacity": gpu, "allocatable": gpu}});
            nodes
                .patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .unwrap();
        }
    }

    pub async fn reachable(&self, name: &str, ready: bool) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let status = if ready { "True" } else { "Unknown" };
        let patch = json!({"status": {"conditions": [{"type": "Ready", "status": status,
            "reason": "Played", "message": "", "lastTransitionTime": "2020-01-01T00:00:00Z"}]}});
        nodes
            .patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch))
            .await
            .unwrap();
    }

    pub async fn claim(&self) {
        let claims: Api<PersistentVolumeClaim> = self.api();
        self.create(
            &claims,
            json!({"metadata": {"name": "store"}, "spec": {"accessModes": ["ReadWriteOnce"],
                "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}}),
        )
        .await;
        let bound = json!({"status": {"phase": "Bound"}});
        claims
            .patch_status("store", &PatchParams::default(), &Patch::Merge(&bound))
            .await
            .unwrap();
    }

    /// Ends a job well, with these last words.
    pub async fn finish(&self, job: &Job, report: &Value) {
        self.pod_says(job, 0, report).await;
        let status = json!({"status": {"startTime": TIME, "completionTime": TIME, "succeeded": 1, "ready": 0,
            "uncountedTerminatedPods": {}, "conditions": [
                {"type": "SuccessCriteriaMet", "status": "True", "lastTransitionTime": TIME},
                {"type": "Complete", "status": "True", "lastTransitionTime": TIME}]}});
        self.job_status(job, status).await;
    }

    /// Ends a job badly, with these last words.
    pub async fn fail(&self, job: &Job, report: &Value) {
        self.pod_says(job, 1, report).await;
        let status = json!({"status": {"startTime": TIME, "failed": 1, "ready": 0, "uncountedTerminatedPods": {},
            "conditions": [
                {"type": "FailureTarget", "status": "True", "lastTransitionTime": TIME, "reason": "BackoffLimitExceeded"},
                {"type": "Failed", "status": "True", "lastTransitionTime": TIME, "reason": "BackoffLimitExceeded"}]}});
        self.job_status(job, status).await;
    }

    async fn job_status(&self, job: &Job, status: Value) {
        let jobs: Api<Job> = self.api();
        jobs.patch_status(&job.name_any(), &PatchParams::default(), &Patch::Merge(&status))
            .await
            .unwrap();
    }

    /// The job's pod has ended with this exit code and these words.
    pub async fn pod_says(&self, job: &Job, code: i32, report: &Value) {
        let pods: Api<Pod> = self.api();
        let mut labels = job.labels().clone();
        labels.insert("batch.kubernetes.io/job-name".to_owned(), job.name_any());
        let name = format!("{}-pod", job.name_any());
        if pods.get_opt(&name).await.unwrap().is_none() {
            let pod = json!({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}],
                "automountServiceAccountToken": false, "serviceAccountName": "cams-cloud"}});
            self.create(&pods, pod).await;
        }
        let end = json!({"exitCode": code, "message": report.to_string()});
        let status = json!({"status": {"phase": if code == 0 { "Succeeded" } else { "Failed" },
            "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": end}}]}});
        pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
            .await
            .unwrap();
    }

    /// The DaemonSet has a ready pod on both nodes, the cloud its one.
    pub async fn workloads_ready(&self) {
        let (sets, workloads): (Api<DaemonSet>, Api<Deployment>) = (self.api(), self.api());
        until("a cloud deployment", || async {
            workloads.get("cams-cloud").await.map_err(|e| e.to_string())
        })
        .await;
        let set = json!({"status": {"currentNumberScheduled": 2, "desiredNumberScheduled": 2, "numberMisscheduled": 0,
            "numberReady": 2, "numberAvailable": 2}});
        sets.patch_status("cams-edge", &PatchParams::default(), &Patch::Merge(&set))
            .await
            .unwrap();
        let cloud = json!({"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 1,
            "observedGeneration": 1}});
        workloads
            .patch_status("cams-cloud", &PatchParams::default(), &Patch::Merge(&cloud))
            .await
            .unwrap();
    }
}

/// How the edge runtime of a node takes a new revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// Brings it into service.
    Works,
    /// Cannot load it, and says so.
    Fails,
    /// Says nothing.
    Silent,
}

/// Plays the edge runtimes of all nodes.
pub struct Fleet {
    manners: Arc<Mutex<HashMap<String, Manners>>>,
    task: JoinHandle<()>,
}

impl Fleet {
    /// Edge runtimes that say nothing yet.
    pub fn start(client: &Client) -> Self {
        let manners = Arc::new(Mutex::new(HashMap::new()));
        let (twins, known) = (
            Api::<MEANetNode>::namespaced(client.clone(), NAMESPACE),
            manners.clone(),
        );
        let task = tokio::spawn(async move {
            loop {
                for twin in twins
                    .list(&ListParams::default())
                    .await
                    .map(|list| list.items)
                    .unwrap_or_default()
                {
                    let manners = {
                        let known = known.lock().unwrap();
                        let all = known.get("").copied().unwrap_or(Manners::Silent);
                        known.get(&twin.spec.node_name).copied().unwrap_or(all)
                    };
                    act(&twins, &twin, manners).await;
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        });
        Self { manners, task }
    }

    pub fn everything_works(&self) {
        let mut manners = self.manners.lock().unwrap();
        manners.clear();
        manners.insert(String::new(), Manners::Works);
    }

    pub fn set(&self, node: &str, manners: Manners) {
        self.manners.lock().unwrap().insert(node.to_owned(), manners);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn act(twins: &Api<MEANetNode>, twin: &MEANetNode, manners: Manners) {
    let Some(revision) = &twin.spec.revision else {
        return;
    };
    let before = twin.status.clone().unwrap_or_default();
    let live = before.revision.as_ref() == Some(revision);
    let done = before.observed_generation == twin.metadata.generation;
    let status = match manners {
        Manners::Works if !(live && done) => json!({"phase": "Live", "revision": revision, "message": null}),
        Manners::Fails if !live && !done => {
            json!({"phase": "Failed", "message": "digest of extension differs"})
        }
        _ => return,
    };
    let mut patch = json!({"status": {"observedGeneration": twin.metadata.generation}});
    patch["status"]
        .as_object_mut()
        .unwrap()
        .extend(status.as_object().unwrap().clone());
    // The twin may be gone by now.
    let _ = twins
        .patch_status(&twin.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
        .await;
}
