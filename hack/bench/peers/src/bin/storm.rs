//! Sends one request again and again on a schedule, whatever becomes of those before: `storm ADDRESS PATH BODY RATE SECONDS`.
//!
//! A request takes an idle connection, or opens one; with `MOST` of them busy, it is counted as unsent. Latencies count from when a
//! request was due. One line of JSON says what came back.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Most connections.
const MOST: usize = 4000;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Tally {
    idle: Vec<TcpStream>,
    open: usize,
    ok: Vec<f64>,
    refused: Vec<f64>,
    failed: usize,
    unsent: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, body, rate, seconds] = args.try_into().map_err(|_| "failed to start: give ADDRESS PATH BODY RATE SECONDS")?;
    let (rate, seconds): (f64, f64) = (rate.parse()?, seconds.parse()?);
    let body = std::fs::read(body)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request: Arc<[u8]> = [head.as_bytes(), &body].concat().into();
    let tally = Arc::new(Mutex::new(Tally::default()));
    let lock = |tally: &Arc<Mutex<Tally>>| tally.lock().unwrap_or_else(PoisonError::into_inner).idle.pop();
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..(rate * seconds) as u64 {
        let due = began + Duration::from_secs_f64(number as f64 / rate);
        tokio::time::sleep_until(due).await;
        let connection = lock(&tally);
        if connection.is_none() {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            if tally.open >= MOST {
                tally.unsent += 1;
                continue;
            }
            tally.open += 1;
        }
        let (request, address, tally) = (Arc::clone(&request), address.clone(), Arc::clone(&tally));
        tasks.spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, ask(connection, &address, &request)).await;
            let took = due.elapsed().as_secs_f64() * 1e3;
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(Ok((status, connection))) => {
                    tally.idle.push(connection);
                    match status {
                        200 => tally.ok.push(took),
                        429 | 503 => tally.refused.push(took),
                        _ => tally.failed += 1,
                    }
                }
                _ => {
                    tally.open -= 1;
                    tally.failed += 1;
                }
            }
        });
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
    let elapsed = began.elapsed().as_secs_f64();
    let mut tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
    let (ok, refused) = (tally.ok.len(), tally.refused.len());
    println!(
        "{{\"sent_per_second\": {:.1}, \"ok_per_second\": {:.1}, \"refused_per_second\": {:.1}, \"failed\": {}, \"unsent\": {}, \
         \"ok_p50_ms\": {:.3}, \"ok_p99_ms\": {:.3}, \"refused_p50_ms\": {:.3}, \"refused_p99_ms\": {:.3}}}",
        (ok + refused + tally.failed) as f64 / elapsed,
        ok as f64 / elapsed,
        refused as f64 / elapsed,
        tally.failed,
        tally.unsent,
        quantile(&mut tally.ok, 0.5),
        quantile(&mut tally.ok, 0.99),
        quantile(&mut tally.refused, 0.5),
        quantile(&mut tally.refused, 0.99),
    );
    Ok(())
}

/// Sends on `connection`, or on a new one; gives the status, and the connection for the next.
async fn ask(connection: Option<TcpStream>, address: &str, request: &[u8]) -> Result<(u16, TcpStream)> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => TcpStream::connect(address).await?,
    };
    connection.set_nodelay(true)?;
    connection.write_all(request).await?;
    let mut answer = Vec::with_capacity(4096);
    loop {
        if connection.read_buf(&mut answer).await? == 0 {
            return Err("the server hung up".into());
        }
        if let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            let whole = end + 4 + length.ok_or("the answer does not say how long it is")?;
            while answer.len() < whole {
                if connection.read_buf(&mut answer).await? == 0 {
                    return Err("the server hung up".into());
                }
            }
            let status = head.split_whitespace().nth(1).ok_or("the answer has no status")?.parse()?;
            return Ok((status, connection));
        }
    }
}

/// 0 of nothing.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(0.0)
}
