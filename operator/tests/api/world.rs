//! A cluster with an operator in it, and what a test asks of both.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use meanet_apiserver::{ApiServer, apply, documents};
use meanet_crds::condition::find;
use meanet_crds::{MEANetDeployment, MEANetNode, MEANetRevision};
use meanet_operator::{Settings, run};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const NAMESPACE: &str = "shop";
pub const NAME: &str = "cams";
/// Of a busy machine, on which several API servers run.
const PATIENCE: Duration = Duration::from_mins(2);

pub struct World {
    pub server: ApiServer,
    pub client: Client,
}

/// An operator that runs in this process.
pub struct Operator {
    stop: CancellationToken,
    task: JoinHandle<Result<(), run::Error>>,
    address: std::net::SocketAddr,
}

impl World {
    /// An API server with our definitions and policies, and the namespaces that tests use.
    pub async fn start() -> Self {
        let server = ApiServer::start().await;
        let client = server.client().await;
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
        for folder in ["crd", "admission"] {
            apply(&client, &documents(&manifests.join(folder))).await;
        }
        let namespace =
            |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        apply(&client, &[namespace("meanet-system"), namespace(NAMESPACE)]).await;
        let mut rights = documents(&manifests.join("operator"));
        rights.retain(|document| document["kind"] != "Deployment");
        apply(&client, &rights).await;
        Self { server, client }
    }

    /// The usual: two edge nodes, a cloud node with an accelerator, a bound claim.
    pub async fn furnished() -> Self {
        let world = Self::start().await;
        world.node("edge-1", "edge").await;
        world.node("edge-2", "edge").await;
        world.node("cloud-1", "cloud").await;
        world.claim().await;
        world
    }

    /// An operator with the rights that the manifests give it, and no others.
    pub async fn operator(&self) -> Operator {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), "meanet-system");
        let token: TokenRequest = accounts
            .create_subresource(
                "token",
                "meanet-operator",
                &PostParams::default(),
                &json!({"spec": {"audiences": []}}),
            )
            .await
            .unwrap();
        let config = self.server.config_of(&token.status.unwrap().token).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let settings = Settings {
            runtime_image: "meanet.dev/runtime:dev".to_owned(),
            edge_image: Some("meanet.dev/edge:dev".to_owned()),
            listen: address,
            namespace: Some("meanet-system".to_owned()),
            identity: Some(format!("operator-{}", address.port())),
            concurrency: 4,
            lease_seconds: 9,
        };
        let work = run::until(settings, config, listener, stop.clone());
        Operator {
            task: tokio::spawn(work),
            stop,
            address,
        }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Makes or edits the deployment, from the smallest spec and what the test adds.
    pub async fn deploy(&self, changes: Value) -> MEANetDeployment {
        let mut spec = json!({
            "model": {"backbone": "ResNet20", "classes": 100, "weights": {"digest": digest('0')}},
            "store": {"persistentVolumeClaim": {"claimName": "store"}},
        });
        json_merge(&mut spec, changes);
        let object = json!({"apiVersion": "meanet.dev/v1alpha1", "kind": "MEANetDeployment",
            "metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": spec});
        let params = PatchParams::apply("user").force();
        self.api()
            .patch(NAME, &params, &Patch::Apply(&object))
            .await
            .unwrap()
    }

    pub async fn edit(&self, patch: Value) {
        let api: Api<MEANetDeployment> = self.api();
        api.patch(NAME, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub async fn deployment(&self) -> MEANetDeployment {
        self.api().get(NAME).await.unwrap()
    }

    /// Status, reason and message of a condition.
    pub async fn condition(&self, type_: &str) -> (String, String, String) {
        let status = self.deployment().await.status.unwrap_or_default();
        find(&status.conditions, type_)
            .map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
            .unwrap_or_default()
    }

    pub async fn until_condition(&self, type_: &str, status: &str, reason: &str) -> String {
        until(&format!("{type_} {status} {reason}"), || async {
            let (is, why, message) = self.condition(type_).await;
            if is == status && why == reason {
                Ok(message)
            } else {
                Err(format!("{is} {why}: {message}"))
            }
        })
        .await
    }

    pub async fn revisions(&self) -> Vec<MEANetRevision> {
        let mut all = self
            .api::<MEANetRevision>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        all.sort_by_key(|revision| revision.spec.number);
        all
    }

    pub async fn twins(&self) -> BTreeMap<String, MEANetNode> {
        let all = self
            .api::<MEANetNode>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        all.into_iter()
            .map(|twin| (twin.spec.node_name.clone(), twin))
            .collect()
    }

    /// What each node's twin wants.
    pub async fn wanted(&self) -> BTreeMap<String, Option<String>> {
        self.twins()
            .await
            .into_iter()
            .map(|(node, twin)| (node, twin.spec.revision))
            .collect()
    }

    pub async fn until_wanted(&self, expected: &[(&str, &str)]) {
        until(&format!("twins that want {expected:?}"), || async {
            let wanted = self.wanted().await;
            let all = expected
                .iter()
                .all(|(node, name)| wanted.get(*node).is_some_and(|w| w.as_deref() == Some(name)));
            if all { Ok(()) } else { Err(format!("{wanted:?}")) }
        })
        .await;
    }

    pub async fn until_job(&self, prefix: &str) -> Job {
        until(&format!("a job {prefix}"), || async {
            let jobs = self
                .api::<Job>()
                .list(&ListParams::default())
                .await
                .unwrap()
                .items;
            let names: Vec<_> = jobs.iter().map(ResourceExt::name_any).collect();
            let fits =
                |job: &Job| job.name_any().starts_with(prefix) && job.metadata.deletion_timestamp.is_none();
            jobs.into_iter().find(fits).ok_or(format!("{names:?}"))
        })
        .await
    }

    /// The usual deployment, imported, live on both nodes, and everything ready. Its first revision.
    pub async fn running(&self, fleet: &super::cluster::Fleet) -> String {
        self.deploy(json!({})).await;
        let job = self.until_job("cams-import-").await;
        self.finish(&job, &report('a')).await;
        self.workloads_ready().await;
        fleet.everything_works();
        self.until_condition("Ready", "True", "Complete").await;
        self.deployment().await.status.unwrap().current_revision.unwrap()
    }

    pub async fn create<K>(&self, api: &Api<K>, object: Value) -> K
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
    {
        let object = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap()
    }
}

impl Operator {
    /// The end that SIGTERM brings.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Waits for an end that nobody here brings.
    pub async fn ended(self) -> Result<(), run::Error> {
        self.task.await.unwrap()
    }

    /// The end that SIGKILL brings: nothing is tidied up.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|end| end.is_cancelled()));
    }

    pub async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// Its requests so far, once there has been none for a second: what was under way has come to its end.
    pub async fn at_rest(&self) -> BTreeMap<String, u64> {
        let begin = Instant::now();
        let mut before = self.requests().await;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = self.requests().await;
            if now == before {
                return now;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "the operator does not come to rest: {now:?}"
            );
            before = now;
        }
    }

    /// The value of a metric without labels; 0 before it has one.
    async fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").await;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_default()
    }

    /// Reconciles that came to their end.
    pub async fn reconciles(&self) -> u64 {
        self.metric("meanet_operator_reconciles_total ").await
    }

    pub async fn leads(&self) -> bool {
        self.metric("meanet_operator_leader ").await == 1
    }

    /// Requests to the API server so far by verb, those for the lease apart.
    pub async fn requests(&self) -> BTreeMap<String, u64> {
        let mut requests = BTreeMap::new();
        for line in self.get("/metrics").await.lines() {
            let Some(rest) = line.strip_prefix("meanet_operator_api_requests_total{") else {
                continue;
            };
            let (labels, count) = rest.split_once("} ").unwrap();
            let verb = labels.split('"').nth(1).unwrap().to_owned();
            if !labels.contains("leases") {
                *requests.entry(verb).or_default() += count.trim().parse::<u64>().unwrap();
            }
        }
        requests
    }
}

/// Asks again until it is so. The last answer is in the failure.
pub async fn until<T, F: Future<Output = Result<T, String>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let begin = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(state) if begin.elapsed() > PATIENCE => {
                panic!("waited {PATIENCE:?} for {what}; it is {state}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// The report of a job that brought adaptive and extension blocks with this digit; the rest is always the same.
pub fn report(digit: char) -> Value {
    json!({
        "outcome": "Succeeded",
        "weights": {"main": digest('1'), "cloud": digest('2'), "adaptive": digest(digit), "extension": digest(digit)},
        "hardClasses": [3, 5, 8],
    })
}

fn json_merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                json_merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
