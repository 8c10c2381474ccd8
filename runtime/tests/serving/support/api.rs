use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use meanet_crds::revision::MEANetRevisionSpec;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use warp::Filter;
use warp::http::{Response, StatusCode};
use warp::reply::{self, Reply};

/// Plays the API server for one twin: lists and watches it, has revisions, and takes status reports.
#[derive(Clone)]
pub struct Api {
    twin: Arc<watch::Sender<Value>>,
    statuses: Arc<watch::Sender<Vec<Value>>>,
    revisions: Arc<Mutex<BTreeMap<String, Value>>>,
    /// Whether reports are taken without an answer.
    silent: Arc<AtomicBool>,
    pub address: SocketAddr,
}

impl Api {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let api = Self {
            twin: Arc::new(watch::Sender::new(twin(1, None))),
            statuses: Arc::default(),
            revisions: Arc::default(),
            silent: Arc::default(),
            address: listener.local_addr().unwrap(),
        };
        tokio::spawn(warp::serve(api.routes()).incoming(listener).run());
        api
    }

    pub fn client(&self) -> kube::Client {
        let mut config = kube::Config::new(format!("http://{}", self.address).parse().unwrap());
        config.default_namespace = "shop".to_owned();
        kube::Client::try_from(config).unwrap()
    }

    /// Makes a revision.
    pub fn revision(&self, name: &str, spec: &MEANetRevisionSpec) {
        let object = json!({
            "apiVersion": "meanet.dev/v1alpha1", "kind": "MEANetRevision",
            "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
        });
        self.revisions.lock().unwrap().insert(name.to_owned(), object);
    }

    /// Wants a revision on the node.
    pub fn want(&self, name: &str) {
        self.twin.send_modify(|value| {
            let generation = value["metadata"]["generation"].as_i64().unwrap() + 1;
            *value = twin(generation, Some(name));
        });
    }

    /// Takes reports from now on without an answer, as a server that dies after it wrote, or with one.
    pub fn silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// The first status, of all that were reported, for which this holds.
    pub async fn reported(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut statuses = self.statuses.subscribe();
        let found = statuses.wait_for(|all| all.iter().any(&holds));
        let Ok(found) = tokio::time::timeout(Duration::from_mins(1), found).await else {
            panic!("never reported: {what}; but {:#?}", self.statuses.borrow().last());
        };
        found
            .unwrap()
            .iter()
            .find(|status| holds(status))
            .unwrap()
            .clone()
    }

    fn routes(
        &self,
    ) -> impl Filter<Extract = (impl Reply + use<>,), Error = warp::Rejection> + Clone + use<> {
        let kind = |kind: &'static str| {
            warp::path!("apis" / "meanet.dev" / "v1alpha1" / "namespaces" / "shop" / ..).and(warp::path(kind))
        };
        let (watched, reporting, reading) = (self.clone(), self.clone(), self.clone());
        let nodes = kind("meanetnodes")
            .and(warp::path::end())
            .and(warp::get())
            .and(warp::query::<BTreeMap<String, String>>())
            .map(move |query: BTreeMap<String, String>| {
                if query.contains_key("watch") {
                    watched.watch(query.get("resourceVersion"))
                } else {
                    watched.list()
                }
            });
        let status = kind("meanetnodes")
            .and(warp::path!(String / "status"))
            .and(warp::patch())
            .and(warp::body::bytes())
            .then(move |_: String, body: Bytes| {
                let api = reporting.clone();
                async move { api.report(&body).await }
            });
        let revision = kind("meanetrevisions")
            .and(warp::path!(String))
            .and(warp::get())
            .map(move |name: String| match reading.revisions.lock().unwrap().get(&name) {
                Some(object) => reply::json(object).into_response(),
                None => reply::with_status(
                    reply::json(&json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound", "message": "not found"})),
                    StatusCode::NOT_FOUND,
                )
                .into_response(),
            });
        nodes.or(status).unify().or(revision).unify()
    }

    fn list(&self) -> reply::Response {
        let twin = self.twin.borrow().clone();
        reply::json(&json!({
            "apiVersion": "meanet.dev/v1alpha1", "kind": "MEANetNodeList",
            "metadata": {"resourceVersion": twin["metadata"]["resourceVersion"]}, "items": [twin],
        }))
        .into_response()
    }

    /// What changes after the version that was listed.
    fn watch(&self, listed: Option<&String>) -> reply::Response {
        let mut twin = self.twin.subscribe();
        if twin.borrow()["metadata"]["resourceVersion"].as_str() != listed.map(String::as_str) {
            twin.mark_changed();
        }
        let events = stream::unfold(twin, |mut twin| async {
            twin.changed().await.ok()?;
            let event = json!({"type": "MODIFIED", "object": twin.borrow_and_update().clone()});
            Some((Ok::<_, Infallible>(Bytes::from(format!("{event}\n"))), twin))
        });
        let mut response = reply::stream(events).into_response();
        *response.status_mut() = StatusCode::OK;
        response
    }

    async fn report(&self, body: &[u8]) -> reply::Response {
        let applied: Value = serde_json::from_slice(body).unwrap();
        let silent = self.silent.load(Ordering::SeqCst);
        self.statuses
            .send_modify(|all| all.push(applied["status"].clone()));
        if silent {
            std::future::pending::<()>().await;
        }
        reply::json(&*self.twin.borrow()).into_response()
    }
}

fn twin(generation: i64, revision: Option<&str>) -> Value {
    json!({
        "apiVersion": "meanet.dev/v1alpha1", "kind": "MEANetNode",
        "metadata": {
            "name": "cams.edge-1", "namespace": "shop", "uid": "1", "generation": generation,
            "resourceVersion": generation.to_string(),
        },
        "spec": {"deployment": "cams", "nodeName": "edge-1", "revision": revision},
    })
}

/// A store whose blobs can be held back.
pub struct SlowStore {
    pub url: String,
    open: Arc<watch::Sender<bool>>,
    asked: Arc<watch::Sender<Vec<String>>>,
}

impl SlowStore {
    /// Serves the blobs below `root`, once [`SlowStore::open`] was called for those that are not in `free`.
    pub async fn start(root: &std::path::Path, free: &[&str]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (open, asked) = (
            Arc::new(watch::Sender::new(false)),
            Arc::new(watch::Sender::default()),
        );
        let free: Vec<String> = free.iter().map(ToString::to_string).collect();
        let blobs = meanet_store::Blobs::below(root);
        let (gate, seen) = (Arc::clone(&open), Arc::clone(&asked));
        let route = warp::path!("v1" / "blobs" / String).then(move |digest: String| {
            let (blobs, mut gate, free) = (blobs.clone(), gate.subscribe(), free.contains(&digest));
            seen.send_modify(|all: &mut Vec<String>| all.push(digest.clone()));
            async move {
                if !free {
                    gate.wait_for(|open| *open).await.unwrap();
                }
                Response::new(blobs.get(&digest.parse().unwrap(), 1 << 30).unwrap())
            }
        });
        tokio::spawn(warp::serve(route).incoming(listener).run());
        Self { url, open, asked }
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Returns when this blob has been asked for.
    pub async fn asked_for(&self, digest: &str) {
        let mut asked = self.asked.subscribe();
        let there = asked.wait_for(|all| all.iter().any(|one| one == digest));
        tokio::time::timeout(Duration::from_mins(1), there)
            .await
            .expect("the blob is never asked for")
            .unwrap();
    }
}
