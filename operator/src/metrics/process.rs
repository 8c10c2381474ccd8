//! What the process itself takes, under the names that are usual: read from the system at each scrape.

use std::fmt;
use std::fs::read_to_string;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Clock ticks in a second, as Linux tells user space on every architecture.
const TICKS: f64 = 100.0;

/// CPU time and resident memory; left out where the system does not tell.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        if let Some(seconds) = read_to_string("/proc/self/stat")
            .ok()
            .and_then(|stat| cpu_seconds(&stat))
        {
            let metric = ConstCounter::new(seconds);
            let help = "CPU time of the process, of user and system";
            let kind = metric.metric_type();
            metric.encode(encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), kind)?)?;
        }
        if let Some(bytes) = read_to_string("/proc/self/status")
            .ok()
            .and_then(|status| resident(&status))
        {
            let metric = ConstGauge::new(bytes);
            let help = "Memory of the process that is in RAM";
            let kind = metric.metric_type();
            metric.encode(encoder.encode_descriptor(
                "process_resident_memory",
                help,
                Some(&Unit::Bytes),
                kind,
            )?)?;
        }
        Ok(())
    }
}

/// The name of the program, in brackets, may hold spaces: fields are counted after it, where the state is the first.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

fn resident(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_system_tells() {
        let stat = "7 (a (strange) name) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 0 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (cut"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t   12 kB\n"), Some(12_288));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn are_printed_under_their_usual_names() {
        let text = crate::metrics::text(&crate::metrics::Metrics::new().1);
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "meanet_operator_reconciles_total ",
        ] {
            assert!(
                text.lines().any(|line| line.starts_with(name)),
                "{name} in {text}"
            );
        }
    }
}
