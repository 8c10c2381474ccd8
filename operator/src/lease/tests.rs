use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

const LEASE_TIME: Duration = Duration::from_secs(3);

/// What a played API server does with its next request.
enum Answer {
    Lease(Value),
    Conflict,
    Missing,
    Unreachable,
    Silence,
}

/// A candidate `a` whose API server answers the n-th request by `play`.
fn candidate(
    play: impl Fn(usize, &Method) -> Answer + Send + Sync + 'static,
) -> (Candidate, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let (play, seen) = (Arc::new(play), count.clone());
    let service = service_fn(move |request: Request<Body>| {
        let answer = play(seen.fetch_add(1, Ordering::Relaxed), request.method());
        async move {
            let (code, body) = match answer {
                Answer::Lease(spec) => {
                    let metadata = json!({"name": LEASE, "namespace": "ns", "resourceVersion": "1"});
                    (200, json!({"metadata": metadata, "spec": spec}))
                }
                Answer::Conflict => (409, refusal(409, "Conflict")),
                Answer::Missing => (404, refusal(404, "NotFound")),
                Answer::Unreachable => return Err(std::io::Error::other("no route")),
                Answer::Silence => std::future::pending().await,
            };
            let response = Response::builder().status(code);
            Ok(response.body(Body::from(body.to_string().into_bytes())).unwrap())
        }
    });
    let client = Client::new(service, "ns");
    (Candidate::new(client, "ns", "a".to_owned(), LEASE_TIME), count)
}

fn refusal(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code})
}

fn held_by(holder: &str) -> Answer {
    Answer::Lease(json!({"holderIdentity": holder, "leaseDurationSeconds": 3}))
}

#[tokio::test]
async fn a_silent_api_server_ends_leadership_before_another_may_lead() {
    // The last request goes out shortly before the end of our patience, and is never answered.
    let (candidate, _) = candidate(|n, _| {
        if n < 3 {
            Answer::Unreachable
        } else {
            Answer::Silence
        }
    });
    let begin = Instant::now();
    let lost = candidate.hold().await;
    assert!(matches!(lost, Lost::Silence { .. }), "{lost}");
    assert!(
        begin.elapsed() < LEASE_TIME,
        "after {:?} another may lead",
        begin.elapsed()
    );
}

#[tokio::test]
async fn who_took_the_lease_is_named() {
    let (candidate, _) = candidate(|_, _| held_by("b"));
    assert_eq!(candidate.hold().await.to_string(), "b has taken the lease");
}

#[tokio::test]
async fn another_writer_or_a_lease_that_is_gone_does_not_end_leadership() {
    // Somebody else's write comes between look and renewal; then the lease is deleted; then all is well, until b takes it.
    let (candidate, count) = candidate(|n, method| match (n, method) {
        (1, &Method::PUT) => Answer::Conflict,
        (4, &Method::GET) => Answer::Missing,
        (0..8, _) => held_by("a"),
        _ => held_by("b"),
    });
    let lost = candidate.hold().await;
    assert!(matches!(&lost, Lost::Taken { holder } if holder == "b"), "{lost}");
    assert_eq!(
        count.load(Ordering::Relaxed),
        9,
        "four looks with a renewal each, and the last look"
    );
}
