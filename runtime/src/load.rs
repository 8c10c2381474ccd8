//! The load generator: labelled images in a closed loop, and one JSON summary of what came back.
//!
//! A failed request is never repeated and never left out of the summary: what is counted is what a client saw.

mod answer;
mod histogram;
mod summary;

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use meanet_data::Images;
use snafu::{ResultExt, Snafu, ensure};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::client;
use crate::protocol::{InferRequest, Tensor};
use crate::shutdown;
use summary::Tally;

pub use answer::{Answer, Row};
pub use summary::Summary;

/// Pause of a client after a failure, so that a server that is away is not hammered.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// What is sent, where, and how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// URL of a model, such as `http://street-cams-edge/v2/models/street-cams`.
    #[arg(long, env = "MEANET_URL")]
    pub url: String,
    /// CIFAR-100 records (coarse label, fine label, 3,072 pixels); `-` reads them from standard input.
    #[arg(long, env = "MEANET_IMAGES", default_value = "-")]
    pub images: PathBuf,
    /// Clients; each sends its next request when its last one is answered.
    #[arg(long, env = "MEANET_CLIENTS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub clients: u32,
    /// Ends after this many seconds.
    #[arg(long, env = "MEANET_SECONDS")]
    pub seconds: Option<f64>,
    /// Ends after this many requests. Without `--seconds` and `--requests`, each image is sent once.
    #[arg(long, env = "MEANET_REQUESTS")]
    pub requests: Option<u64>,
    /// Images in a request. Above 1, the last repeats the first: both must get the same answer, or a request saw two
    /// revisions.
    #[arg(long, env = "MEANET_BATCH", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub batch: u32,
    /// How long an answer may take, in milliseconds, before the request counts as failed.
    #[arg(long, env = "MEANET_TIMEOUT_MS", default_value_t = 10_000)]
    pub timeout_ms: u64,
    /// Says once a second on standard error how it goes.
    #[arg(long, env = "MEANET_PROGRESS")]
    pub progress: bool,
}

/// Why no load was made.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum Error {
    /// The images cannot be read.
    #[snafu(display("failed to read images from {}", path.display()))]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The images are no CIFAR-100 records.
    #[snafu(display("failed to read images from {}", path.display()))]
    Records {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: meanet_data::ReadCifarError,
    },
    /// There is nothing to send.
    #[snafu(display("failed to find an image in {}: give CIFAR-100 records, such as those of `meanet data pack`", path.display()))]
    Nothing {
        /// The file.
        path: PathBuf,
    },
    /// No client.
    #[snafu(transparent)]
    Client {
        /// Why.
        source: crate::client::ClientError,
    },
    /// No handler for the end of the process.
    #[snafu(display("failed to listen for signals"))]
    Signals {
        /// What the system says.
        source: std::io::Error,
    },
    /// The summary could not be written.
    #[snafu(display("failed to write the summary"))]
    Write {
        /// Why.
        source: serde_json::Error,
    },
}

/// Sends until time, requests or patience are over, and prints the summary on standard output. SIGTERM and SIGINT end it early,
/// with a summary all the same.
pub async fn run(args: Args) -> Result<(), Error> {
    let token = shutdown::token().context(SignalsSnafu)?;
    let images = read(&args)?;
    let summary = generate(&args, images, token).await?;
    serde_json::to_writer(std::io::stdout().lock(), &summary).context(WriteSnafu)?;
    println!();
    Ok(())
}

fn read(args: &Args) -> Result<Images, Error> {
    let path = &args.images;
    let reader: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path).context(OpenSnafu { path })?)
    };
    let images = meanet_data::read_records(reader).context(RecordsSnafu { path })?;
    ensure!(!images.is_empty(), NothingSnafu { path });
    Ok(images)
}

/// Sends `images` as `args` say until `token` is cancelled at the latest.
pub async fn generate(args: &Args, images: Images, token: CancellationToken) -> Result<Summary, Error> {
    let client = client(None, |builder| {
        builder
            .timeout(Duration::from_millis(args.timeout_ms))
            .pool_max_idle_per_host(args.clients as usize)
    })?;
    let rounds = (images.len() as u64).div_ceil(u64::from(args.batch.max(1)));
    let limit = args
        .requests
        .or_else(|| args.seconds.is_none().then_some(rounds))
        .unwrap_or(u64::MAX);
    let sender = Arc::new(Sender {
        url: format!("{}/infer", args.url.trim_end_matches('/')),
        client,
        images,
        batch: args.batch.max(1) as usize,
        next: AtomicU64::new(0),
        limit,
        tally: Mutex::new(Tally::default()),
    });
    let started = Instant::now();
    let stop = token.child_token();
    if let Some(seconds) = args.seconds.filter(|s| s.is_finite() && *s >= 0.0) {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(seconds.min(1e7))).await;
            stop.cancel();
        });
    }
    let mut clients = JoinSet::new();
    for _ in 0..args.clients {
        let (sender, stop) = (Arc::clone(&sender), stop.clone());
        clients.spawn(async move { sender.client(&stop).await });
    }
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.tick().await;
    loop {
        tokio::select! {
            ended = clients.join_next() => if ended.is_none() { break },
            _ = second.tick() => if args.progress {
                eprintln!("{}", sender.tally().line(started.elapsed()));
            },
        }
    }
    stop.cancel();
    Ok(sender.tally().summary(&args.url, started.elapsed()))
}

struct Sender {
    url: String,
    client: reqwest::Client,
    images: Images,
    batch: usize,
    next: AtomicU64,
    limit: u64,
    tally: Mutex<Tally>,
}

impl Sender {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One client's loop. A request under way is waited for: an answer cut off by ourselves would look like a failure.
    async fn client(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.limit {
                return;
            }
            let rows = self.rows(number);
            let began = Instant::now();
            let result = self.ask(&rows).await;
            let took = began.elapsed();
            let failed = result.is_err();
            match result {
                Ok(answer) => {
                    let labels: Vec<u32> = rows.iter().map(|&row| self.images.labels[row]).collect();
                    self.tally().answered(&answer, &labels, rows.len() > 1, took);
                }
                Err(reason) => self.tally().failed(reason),
            }
            if failed {
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }

    /// Which images request `number` holds; above one, the last is the first again.
    fn rows(&self, number: u64) -> Vec<usize> {
        let count = self.images.len() as u64;
        let start = number.wrapping_mul(self.batch as u64);
        let mut rows: Vec<usize> = (0..self.batch as u64)
            .map(|i| (start.wrapping_add(i) % count) as usize)
            .collect();
        if let [first, .., last] = rows.as_mut_slice() {
            *last = *first;
        }
        rows
    }

    async fn ask(&self, rows: &[usize]) -> Result<Answer, String> {
        let data: Vec<u8> = rows
            .iter()
            .flat_map(|&row| self.images.image(row))
            .copied()
            .collect();
        let shape = vec![rows.len(), 3, self.images.height, self.images.width];
        let request = InferRequest {
            inputs: vec![Tensor::new("image", "UINT8", shape, data.into())],
            ..InferRequest::default()
        };
        let response = self
            .client
            .post(&self.url)
            .json(&request)
            .send()
            .await
            .map_err(|e| words(&e))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| words(&e))?;
        if !status.is_success() {
            let text: String = String::from_utf8_lossy(&body).chars().take(300).collect();
            return Err(format!("status {status}: {text}"));
        }
        Answer::read(&body, rows.len())
    }
}

/// An error and its causes, without the URL, so that equal failures read equal.
fn words(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    let kind = if error.is_timeout() {
        "no answer in time"
    } else {
        "no answer"
    };
    format!("{kind}{text}")
}
