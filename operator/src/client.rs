//! The API client, with every request counted, and none waited for without end.

use std::time::Duration;

use http::{Method, Request};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::BoxError;
use tower::util::{MapFutureLayer, MapRequestLayer};

use crate::metrics::Metrics;

/// How long the answer to a request may take to begin. A connection that died without a word would else hold up all that
/// waits for it for as long as the system sends again, a quarter of an hour.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an answer that has begun may be silent: longer than a watch without news, which is renewed every 290 seconds.
const SILENCE: Duration = Duration::from_secs(330);

/// A client that counts its requests by verb and resource.
pub fn counting(config: Config, metrics: Metrics) -> kube::Result<Client> {
    patient(config, metrics, PATIENCE)
}

fn patient(mut config: Config, metrics: Metrics, patience: Duration) -> kube::Result<Client> {
    config.read_timeout.get_or_insert(SILENCE);
    config.reset_reader_on_write = true;
    let count = MapRequestLayer::new(move |request: Request<Body>| {
        let (verb, resource) = classify(request.method(), request.uri().path(), request.uri().query());
        metrics.requested(verb, resource);
        request
    });
    let limit = MapFutureLayer::new(move |answer| async move {
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(BoxError::from(format!(
                "the API server did not answer within {} seconds",
                patience.as_secs_f64()
            ))),
        }
    });
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&limit)
        .with_layer(&count)
        .build())
}

/// Verb and resource of a request, as RBAC names them.
fn classify<'a>(method: &Method, path: &'a str, query: Option<&str>) -> (&'static str, &'a str) {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let after_version = match parts.first() {
        Some(&"api") => parts.get(2..),
        Some(&"apis") => parts.get(3..),
        _ => None,
    };
    let rest = match after_version {
        Some(["namespaces", _, rest @ ..]) if !rest.is_empty() => rest,
        Some(rest) => rest,
        None => &[],
    };
    let resource = rest.first().copied().unwrap_or("other");
    let named = rest.len() > 1;
    let verb = match *method {
        Method::GET if query.is_some_and(|q| q.split('&').any(|pair| pair == "watch=true")) => "watch",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    };
    (verb, resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    use k8s_openapi::api::core::v1::Node;
    use kube::Api;

    #[tokio::test]
    async fn a_connection_that_died_silently_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // Accepts and reads; answers nothing.
        let server = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                held.push(stream);
            }
        });
        let config = Config::new(url.parse().unwrap());
        let client = patient(config, Metrics::new().0, Duration::from_millis(200)).unwrap();
        let answer = Api::<Node>::all(client).get("n").await;
        let said = crate::deployment::apply::said(&answer.unwrap_err());
        assert!(said.contains("did not answer within 0.2 seconds"), "{said}");
        server.abort();
    }

    #[test]
    fn names_verb_and_resource() {
        for (method, path, query, expected) in [
            (
                Method::GET,
                "/api/v1/nodes",
                Some("limit=500&watch=true"),
                ("watch", "nodes"),
            ),
            (Method::GET, "/api/v1/nodes", Some(""), ("list", "nodes")),
            (Method::GET, "/api/v1/namespaces", None, ("list", "namespaces")),
            (
                Method::GET,
                "/apis/meanet.dev/v1alpha1/namespaces/a/meanetnodes/b.c",
                None,
                ("get", "meanetnodes"),
            ),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/a/daemonsets/b",
                None,
                ("patch", "daemonsets"),
            ),
            (
                Method::PATCH,
                "/apis/meanet.dev/v1alpha1/namespaces/a/meanetnodes/b/status",
                None,
                ("patch", "meanetnodes"),
            ),
            (
                Method::POST,
                "/apis/batch/v1/namespaces/a/jobs",
                None,
                ("create", "jobs"),
            ),
            (Method::GET, "/version", None, ("list", "other")),
        ] {
            assert_eq!(classify(&method, path, query), expected, "{method} {path}");
        }
    }
}
