//! Keeps hard samples without ever holding up an answer: what does not fit the queue is dropped and counted.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use meanet_store::{Sample, SampleWriter};
use tracing::warn;

use super::metrics::Metrics;

/// Samples that wait for the disk at most.
const QUEUE: usize = 1024;

pub(super) struct Collector {
    sender: SyncSender<Sample>,
    thread: JoinHandle<()>,
    metrics: Metrics,
}

impl Collector {
    pub(super) fn start(mut writer: SampleWriter, metrics: &Metrics) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<Sample>(QUEUE);
        let counted = metrics.clone();
        let thread = thread::Builder::new().name("samples".to_owned()).spawn(move || {
            for sample in receiver {
                if let Err(error) = writer.add(&sample) {
                    if counted.failed.inc().is_multiple_of(1000) {
                        warn!("failed to keep a sample: {}", crate::report::words(&error));
                    }
                } else {
                    counted.kept.inc();
                }
            }
        })?;
        Ok(Self {
            sender,
            thread,
            metrics: metrics.clone(),
        })
    }

    /// Whether the sample found room in the queue.
    pub(super) fn offer(&self, sample: Sample) -> bool {
        let taken = self.sender.try_send(sample).is_ok();
        if !taken {
            self.metrics.dropped.inc();
        }
        taken
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}
