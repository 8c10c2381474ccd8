use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Transport;
use super::answer::Answer;
use super::histogram::Histogram;
use super::memory::Memory;

/// Different failures kept as examples.
const EXAMPLES: usize = 5;
/// Revisions told apart; one run sees a handful.
const REVISIONS: usize = 64;

/// What a run saw, printed as one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The model.
    pub url: String,
    /// What requests travelled by.
    pub transport: Option<Transport>,
    /// Requests a second that were due, where they were sent at a rate.
    pub rate: Option<f64>,
    /// How long the run took.
    pub seconds: f64,
    /// Requests answered or failed.
    pub requests: u64,
    /// Images answered.
    pub images: u64,
    /// Requests without a usable answer.
    pub failures: u64,
    /// Of the failures, those in which the server said that it is too busy.
    pub refused: u64,
    /// How long refusals took, in milliseconds.
    pub refused_latency_ms: Quantiles,
    /// Requests that were due while as many were under way as are sent at once; they count nowhere else.
    pub unsent: u64,
    /// The first few different failures, with how often each was seen.
    pub failure_examples: BTreeMap<String, u64>,
    /// Answered requests a second.
    pub requests_per_second: f64,
    /// Share of answers that are right.
    pub accuracy: Option<f64>,
    /// Images answered at the edge although the cloud was asked.
    pub degraded: u64,
    /// By exit.
    pub exits: BTreeMap<String, ExitSummary>,
    /// Of requests, whatever their exit, in milliseconds.
    pub latency_ms: Quantiles,
    /// Revisions in the order of their names.
    pub revisions: BTreeMap<String, RevisionSummary>,
    /// Requests whose answer cannot come from one revision.
    pub mixed_revisions: u64,
    /// Memory of the server, where it was watched.
    pub memory_mib: Option<Memory>,
}

/// One exit.
#[derive(Clone, Debug, Serialize)]
pub struct ExitSummary {
    /// Images.
    pub images: u64,
    /// Share of all images.
    pub share: f64,
    /// Share of its answers that are right.
    pub accuracy: f64,
    /// Of requests that ended here, in milliseconds; a request of several images counts for the exit that took longest.
    pub latency_ms: Quantiles,
}

/// Quantiles in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

/// One revision.
#[derive(Clone, Debug, Serialize)]
pub struct RevisionSummary {
    /// Requests.
    pub requests: u64,
    /// When its first answer came.
    pub first: Timestamp,
    /// When its last answer came.
    pub last: Timestamp,
}

#[derive(Default)]
struct Exit {
    images: u64,
    right: u64,
    latency: Histogram,
}

#[derive(Default)]
pub(super) struct Tally {
    answered: u64,
    images: u64,
    right: u64,
    failures: u64,
    refused: u64,
    refusals: Histogram,
    unsent: u64,
    examples: BTreeMap<String, u64>,
    degraded: u64,
    mixed: u64,
    exits: BTreeMap<String, Exit>,
    latency: Histogram,
    revisions: BTreeMap<String, RevisionSummary>,
    newest: String,
}

/// Exits from quick to slow.
fn depth(exit: &str) -> u8 {
    match exit {
        "main" => 0,
        "extension" => 1,
        _ => 2,
    }
}

impl Tally {
    pub(super) fn answered(&mut self, answer: &Answer, labels: &[u32], repeats: bool, took: Duration) {
        self.answered += 1;
        self.latency.record(took);
        for (row, &label) in answer.rows.iter().zip(labels) {
            let right = u64::from(row.label == i64::from(label));
            self.images += 1;
            self.right += right;
            self.degraded += u64::from(row.degraded);
            let exit = self.exits.entry(row.exit.clone()).or_default();
            exit.images += 1;
            exit.right += right;
        }
        if let Some(last) = answer.rows.iter().max_by_key(|row| depth(&row.exit))
            && let Some(exit) = self.exits.get_mut(&last.exit)
        {
            exit.latency.record(took);
        }
        self.mixed += u64::from(answer.is_mixed(repeats));
        let now = Timestamp::now();
        if let Some(seen) = self.revisions.get_mut(&answer.revision) {
            seen.requests += 1;
            seen.last = now;
        } else if self.revisions.len() < REVISIONS {
            self.newest.clone_from(&answer.revision);
            self.revisions.insert(
                answer.revision.clone(),
                RevisionSummary {
                    requests: 1,
                    first: now,
                    last: now,
                },
            );
        }
    }

    pub(super) fn failed(&mut self, reason: &str) {
        self.failures += 1;
        if let Some(seen) = self.examples.get_mut(reason) {
            *seen += 1;
        } else if self.examples.len() < EXAMPLES {
            self.examples.insert(reason.to_owned(), 1);
        }
    }

    /// The server was too busy, and took so long to say it.
    pub(super) fn refused(&mut self, reason: &str, took: Duration) {
        self.failed(reason);
        self.refused += 1;
        self.refusals.record(took);
    }

    /// A request was due and could not be sent.
    pub(super) fn unsent(&mut self) {
        self.unsent += 1;
    }

    /// How it goes, for people.
    pub(super) fn line(&self, elapsed: Duration) -> String {
        let shares: Vec<String> = self
            .exits
            .iter()
            .map(|(name, exit)| {
                format!(
                    "{name} {:.0} %",
                    100.0 * exit.images as f64 / self.images.max(1) as f64
                )
            })
            .collect();
        format!(
            "{:>4.0} s  {} answered, {} failed, {} degraded  {}  {}",
            elapsed.as_secs_f64(),
            self.answered,
            self.failures,
            self.degraded,
            shares.join(", "),
            self.newest
        )
    }

    pub(super) fn summary(&self, url: &str, elapsed: Duration) -> Summary {
        let images = self.images.max(1) as f64;
        Summary {
            url: url.to_owned(),
            transport: None,
            rate: None,
            seconds: elapsed.as_secs_f64(),
            requests: self.answered + self.failures,
            images: self.images,
            failures: self.failures,
            refused: self.refused,
            refused_latency_ms: quantiles(&self.refusals),
            unsent: self.unsent,
            failure_examples: self.examples.clone(),
            requests_per_second: self.answered as f64 / elapsed.as_secs_f64().max(1e-9),
            accuracy: (self.images > 0).then_some(self.right as f64 / images),
            degraded: self.degraded,
            exits: self
                .exits
                .iter()
                .map(|(name, exit)| {
                    let summary = ExitSummary {
                        images: exit.images,
                        share: exit.images as f64 / images,
                        accuracy: exit.right as f64 / exit.images.max(1) as f64,
                        latency_ms: quantiles(&exit.latency),
                    };
                    (name.clone(), summary)
                })
                .collect(),
            latency_ms: quantiles(&self.latency),
            revisions: self.revisions.clone(),
            mixed_revisions: self.mixed,
            memory_mib: None,
        }
    }
}

fn quantiles(histogram: &Histogram) -> Quantiles {
    let at = |q| histogram.quantile(q);
    Quantiles {
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
        max: at(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Row;
    use super::*;

    #[test]
    fn what_a_client_saw_is_all_there() {
        let row = |label, exit: &str| Row {
            label,
            exit: exit.to_owned(),
            score: 0.1,
            degraded: exit == "main",
        };
        let answer = Answer {
            revision: "r1".to_owned(),
            rows: vec![row(1, "main"), row(2, "cloud")],
            contradicts: false,
        };
        let mut tally = Tally::default();
        tally.answered(&answer, &[1, 3], false, Duration::from_millis(10));
        for _ in 0..3 {
            tally.refused("status 503", Duration::from_millis(2));
        }
        let summary = tally.summary("http://x", Duration::from_secs(1));
        assert_eq!(
            (
                summary.requests,
                summary.images,
                summary.failures,
                summary.degraded
            ),
            (4, 2, 3, 1)
        );
        assert_eq!((summary.refused, summary.failure_examples["status 503"]), (3, 3));
        assert_eq!(summary.accuracy, Some(0.5));
        assert!(
            summary.exits["cloud"].latency_ms.p50.is_some() && summary.exits["main"].latency_ms.p50.is_none()
        );
        assert_eq!(
            (summary.revisions["r1"].requests, summary.mixed_revisions),
            (1, 0)
        );
    }

    #[test]
    fn nothing_sent_is_no_division_by_zero() {
        let summary = Tally::default().summary("http://x", Duration::ZERO);
        assert_eq!((summary.accuracy, summary.requests), (None, 0));
        assert!(serde_json::to_string(&summary).is_ok());
    }
}
