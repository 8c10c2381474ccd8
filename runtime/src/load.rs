//! The load generator: labelled images in a closed loop or at a fixed rate, to any server of the protocol, and one JSON
//! summary of what came back.
//!
//! A failed request is never repeated and never left out of the summary: what is counted is what a client saw.

mod answer;
mod client;
mod histogram;
mod memory;
mod summary;

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use meanet_data::Images;
use snafu::{ResultExt, Snafu, ensure};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::protocol::{Data, InferRequest, Tensor};
use crate::shutdown;
use client::{Client, Failure, Payload};
use summary::Tally;

pub use answer::{Answer, Row};
pub use client::Transport;
pub use memory::Memory;
pub use summary::Summary;

/// Pause of a client after a failure, so that a server that is away is not hammered.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// Requests that are made once and kept; writing floats as text costs the client as much as reading them costs the server.
const KEPT: usize = 256;

/// What is sent, where, and how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// URL of a model, such as `http://street-cams-edge/v2/models/street-cams`.
    #[arg(long, env = "MEANET_URL")]
    pub url: String,
    /// CIFAR-100 records (coarse label, fine label, 3,072 pixels); `-` reads them from standard input.
    #[arg(long, env = "MEANET_IMAGES", default_value = "-")]
    pub images: PathBuf,
    /// What requests travel by.
    #[arg(long, env = "MEANET_TRANSPORT", value_enum, default_value = "http-json")]
    pub transport: Transport,
    /// Unix socket to dial instead of the URL's host.
    #[arg(long, env = "MEANET_UNIX")]
    pub unix: Option<PathBuf>,
    /// Name of the model's input.
    #[arg(long, env = "MEANET_INPUT", default_value = "image")]
    pub input: String,
    /// Sends pixels as FP32 instead of UINT8.
    #[arg(long, env = "MEANET_FLOATS")]
    pub floats: bool,
    /// Requests a second, sent whether those before them are answered or not; their latency counts from when they were due.
    /// Without it, each client sends its next request when its last one is answered.
    #[arg(long, env = "MEANET_RATE")]
    pub rate: Option<f64>,
    /// Process of the server on this machine whose memory is watched.
    #[arg(long, env = "MEANET_WATCH_PID")]
    pub watch_pid: Option<u32>,
    /// Clients, which are also the requests under way at most; with `--rate`, one more counts as unsent.
    #[arg(long, visible_alias = "concurrency", env = "MEANET_CLIENTS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub clients: u32,
    /// Ends after it has counted for this many seconds.
    #[arg(long, env = "MEANET_SECONDS")]
    pub seconds: Option<f64>,
    /// Sends for this many seconds before it counts what comes back: until then, connections come about.
    #[arg(long, env = "MEANET_WARM_UP", default_value_t = 0.0)]
    pub warm_up: f64,
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
    /// The URL names no model.
    #[snafu(display("failed to read {url}: give the URL of a model, such as http://host/v2/models/name"))]
    Url {
        /// The URL.
        url: String,
    },
    /// The URL names no server.
    #[snafu(display("failed to read {url}: give the URL of a model, such as http://host/v2/models/name"))]
    Address {
        /// The URL.
        url: String,
        /// What does not fit.
        source: tonic::transport::Error,
    },
    /// The rate is no rate.
    #[snafu(display("failed to send {rate} requests a second: give a number above 0, at most 1000000"))]
    Rate {
        /// The rate.
        rate: f64,
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
    if let Some(rate) = args.rate {
        ensure!(rate > 0.0 && rate <= 1e6, RateSnafu { rate });
    }
    let client = Client::new(
        args.transport,
        &args.url,
        args.unix.as_deref(),
        args.clients,
        Duration::from_millis(args.timeout_ms),
    )?;
    let rounds = (images.len() as u64).div_ceil(u64::from(args.batch.max(1)));
    let limit = args
        .requests
        .or_else(|| args.seconds.is_none().then_some(rounds))
        .unwrap_or(u64::MAX);
    let counts_from = Instant::now() + duration(args.warm_up);
    let sender = Arc::new(Sender {
        client,
        counts_from,
        kept: (0..images.len().min(KEPT)).map(|_| OnceLock::new()).collect(),
        images,
        input: args.input.clone(),
        floats: args.floats,
        batch: args.batch.max(1) as usize,
        next: AtomicU64::new(0),
        limit,
        tally: Mutex::new(Tally::default()),
    });
    let over = CancellationToken::new();
    let watched = args
        .watch_pid
        .map(|pid| tokio::spawn(memory::watch(pid, over.clone())));
    let stop = token.child_token();
    if let Some(seconds) = args.seconds {
        let (stop, end) = (stop.clone(), counts_from + duration(seconds));
        tokio::spawn(async move {
            tokio::time::sleep_until(end.into()).await;
            stop.cancel();
        });
    }
    let mut clients = JoinSet::new();
    if let Some(rate) = args.rate {
        let (sender, stop, most) = (Arc::clone(&sender), stop.clone(), args.clients as usize);
        clients.spawn(async move { sender.at_rate(rate, most, &stop).await });
    } else {
        for _ in 0..args.clients {
            let (sender, stop) = (Arc::clone(&sender), stop.clone());
            clients.spawn(async move { sender.in_turn(&stop).await });
        }
    }
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.tick().await;
    loop {
        tokio::select! {
            ended = clients.join_next() => if ended.is_none() { break },
            _ = second.tick() => if args.progress {
                eprintln!("{}", sender.tally().line(counts_from.elapsed()));
            },
        }
    }
    stop.cancel();
    let took = counts_from.elapsed();
    over.cancel();
    let memory = match watched {
        Some(watched) => watched.await.ok().flatten(),
        None => None,
    };
    let mut summary = sender.tally().summary(&args.url, took);
    summary.transport = Some(args.transport);
    summary.rate = args.rate;
    summary.memory_mib = memory;
    Ok(summary)
}

/// Seconds as they are given, without those that are none.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.min(1e7)).unwrap_or_default()
}

struct Sender {
    client: Client,
    images: Images,
    /// Requests of one image, by the image.
    kept: Vec<OnceLock<Payload>>,
    input: String,
    floats: bool,
    batch: usize,
    next: AtomicU64,
    /// When what comes back begins to count.
    counts_from: Instant,
    limit: u64,
    tally: Mutex<Tally>,
}

impl Sender {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> bool {
        Instant::now() >= self.counts_from
    }

    /// The number of the next request, unless all were sent.
    fn number(&self) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.limit).then_some(number)
    }

    /// One client's loop. A request under way is waited for: an answer cut off by ourselves would look like a failure.
    async fn in_turn(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let Some(number) = self.number() else { return };
            if !self.send(number, Instant::now()).await {
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }

    /// Requests at a rate, `most` of them under way at once.
    async fn at_rate(self: Arc<Self>, rate: f64, most: usize, stop: &CancellationToken) {
        let slots = Arc::new(Semaphore::new(most));
        let mut under_way = JoinSet::new();
        let began = Instant::now();
        for turn in 0_u64.. {
            let due = began + Duration::from_secs_f64(turn as f64 / rate);
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = stop.cancelled() => break,
            }
            let Some(number) = self.number() else { break };
            while under_way.try_join_next().is_some() {}
            match Arc::clone(&slots).try_acquire_owned() {
                Err(_) if self.counts() => self.tally().unsent(),
                Err(_) => {}
                Ok(slot) => {
                    let sender = Arc::clone(&self);
                    under_way.spawn(async move {
                        let _slot = slot;
                        sender.send(number, due).await;
                    });
                }
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Sends one request that was due at `due`; gives whether it was answered.
    async fn send(&self, number: u64, due: Instant) -> bool {
        let rows = self.rows(number);
        let result = match self.payload(&rows) {
            Ok(payload) => self.client.ask(payload).await,
            Err(failure) => Err(failure),
        };
        let took = due.elapsed();
        let result = result.and_then(|answer| Answer::read(&answer, rows.len()).map_err(Failure::Other));
        if !self.counts() {
            return result.is_ok();
        }
        match &result {
            Ok(answer) => {
                let labels: Vec<u32> = rows.iter().map(|&row| self.images.labels[row]).collect();
                self.tally().answered(answer, &labels, rows.len() > 1, took);
            }
            Err(Failure::Refused(reason)) => self.tally().refused(reason, took),
            Err(Failure::Other(reason)) => self.tally().failed(reason),
        }
        result.is_ok()
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

    fn payload(&self, rows: &[usize]) -> Result<Payload, Failure> {
        let slot = match rows {
            [row] => self.kept.get(*row),
            _ => None,
        };
        if let Some(kept) = slot.and_then(OnceLock::get) {
            return Ok(kept.clone());
        }
        let pixels: Vec<u8> = rows
            .iter()
            .flat_map(|&row| self.images.image(row))
            .copied()
            .collect();
        let data = if self.floats {
            Data::F32(pixels.into_iter().map(f32::from).collect())
        } else {
            Data::U8(pixels)
        };
        let shape = vec![rows.len(), 3, self.images.height, self.images.width];
        let made = self.client.payload(InferRequest {
            inputs: vec![Tensor::new(&self.input, shape, data)],
            ..InferRequest::default()
        })?;
        Ok(match slot {
            Some(slot) => slot.get_or_init(|| made).clone(),
            None => made,
        })
    }
}
