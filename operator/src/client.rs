//! The API client, with every request counted.

use http::{Method, Request};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::util::MapRequestLayer;

use crate::metrics::Metrics;

/// A client that counts its requests by verb and resource.
pub fn counting(config: Config, metrics: Metrics) -> kube::Result<Client> {
    let count = MapRequestLayer::new(move |request: Request<Body>| {
        let (verb, resource) = classify(request.method(), request.uri().path(), request.uri().query());
        metrics.requested(verb, resource);
        request
    });
    Ok(ClientBuilder::try_from(config)?.with_layer(&count).build())
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
