//! Five times the load that an edge can take: what there is no room for is refused, the rest is answered. How fast is
//! measured and printed, not asserted.

use meanet_data::Images;
use meanet_runtime::load::{Args, Summary, Transport, generate};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{EdgeServer, Model, edge, image};

fn images() -> Images {
    Images {
        height: 32,
        width: 32,
        pixels: (0..64).flat_map(image).collect(),
        labels: vec![0; 64],
    }
}

async fn load(edge: &EdgeServer, transport: Transport, rate: Option<f64>, requests: u64) -> Summary {
    generate(
        &args(edge, transport, rate, requests),
        images(),
        CancellationToken::new(),
    )
    .await
    .unwrap()
}

fn args(edge: &EdgeServer, transport: Transport, rate: Option<f64>, requests: u64) -> Args {
    Args {
        url: edge.url("/v2/models/cams"),
        images: "-".into(),
        transport,
        unix: None,
        input: "image".to_owned(),
        floats: false,
        rate,
        watch_pid: Some(std::process::id()),
        clients: if rate.is_some() { 2048 } else { 8 },
        seconds: None,
        warm_up: 0.0,
        requests: Some(requests),
        batch: 1,
        timeout_ms: 60_000,
        progress: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_before_the_load_is_warm_does_not_count() {
    let model = Model::new();
    let (_cloud, edge) = edge(&model).await;
    let mut args = args(&edge, Transport::HttpBinary, None, 40);
    args.warm_up = 3600.0;
    let cold = generate(&args, images(), CancellationToken::new()).await.unwrap();
    assert_eq!((cold.requests, cold.requests_per_second), (0, 0.0), "{cold:?}");
    args.warm_up = 0.2;
    args.requests = None;
    args.seconds = Some(0.5);
    let warm = generate(&args, images(), CancellationToken::new()).await.unwrap();
    assert!(warm.requests > 0 && warm.seconds >= 0.5, "{warm:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_times_the_load_is_refused_and_not_collapsed_under() {
    let model = Model::new();
    let (_cloud, edge) = edge(&model).await;
    for transport in [Transport::HttpBinary, Transport::Grpc] {
        let alone = load(&edge, transport, None, 300).await;
        assert_eq!((alone.failures, alone.images), (0, 300), "{alone:?}");
        let capacity = alone.requests_per_second;
        let requests = (5.0 * capacity * 3.0) as u64;
        let flood = load(&edge, transport, Some(5.0 * capacity), requests.max(1000)).await;
        assert!(flood.refused > 0, "{flood:?}");
        assert_eq!(flood.failures, flood.refused, "nothing but refusals: {flood:?}");
        assert!(flood.images > 0, "{flood:?}");
        let after = load(&edge, transport, None, 50).await;
        assert_eq!(after.failures, 0, "there is room again: {after:?}");
        println!(
            "{}",
            json!({
                "transport": transport,
                "capacity_per_second": capacity,
                "goodput_share": flood.requests_per_second / capacity,
                "refused": flood.refused,
                "refused_latency_ms": flood.refused_latency_ms,
                "latency_ms": flood.latency_ms,
                "memory_mib": flood.memory_mib,
            })
        );
    }
}
