use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// Pause between two looks.
const EVERY: Duration = Duration::from_millis(100);

/// Resident memory of a process while load was made, in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Before the first request.
    pub start: f64,
    /// The most that was seen.
    pub max: f64,
    /// After the last request.
    pub end: f64,
}

/// Watches a process until `stop`; `None` where it cannot be seen.
pub(super) async fn watch(pid: u32, stop: CancellationToken) -> Option<Memory> {
    let start = resident(pid)?;
    let mut memory = Memory {
        start,
        max: start,
        end: start,
    };
    loop {
        let stopped = tokio::time::timeout(EVERY, stop.cancelled()).await.is_ok();
        if let Some(now) = resident(pid) {
            memory.max = memory.max.max(now);
            memory.end = now;
        }
        if stopped {
            return Some(memory);
        }
    }
}

fn resident(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib / 1024.0 * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_process_takes_memory() {
        let stop = CancellationToken::new();
        stop.cancel();
        let memory = watch(std::process::id(), stop.clone()).await.unwrap();
        assert!(memory.start > 1.0 && memory.max >= memory.end, "{memory:?}");
        assert_eq!(watch(u32::MAX, stop).await, None);
    }
}
