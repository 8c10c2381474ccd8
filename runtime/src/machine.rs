//! What a process has used of the machine, and what it may use, as Linux tells it.

use std::error::Error;
use std::fs;
use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Ticks of `/proc/self/stat` in a second: 100 on every Linux that a program may see (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Processor time that this process has used, all threads together, in seconds. Unlike time on the wall it does not grow
/// where others use the same machine.
pub(crate) fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field, the program's name, is in brackets and may hold anything.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Vec<f64> = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|v| v.parse().ok())
        .collect();
    match ticks[..] {
        [user, system] => Ok((user + system) / TICKS),
        _ => Err("failed to read /proc/self/stat: it has no times".into()),
    }
}

/// Most memory that this process has held at once, in bytes.
pub(crate) fn peak_memory() -> Result<u64, Box<dyn Error>> {
    memory("VmHWM:")
}

/// Sets the peak to what is held now.
pub(crate) fn forget_peak() -> Result<(), Box<dyn Error>> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

/// Memory that this process holds, in bytes.
pub(crate) fn memory_held() -> Result<u64, Box<dyn Error>> {
    memory("VmRSS:")
}

fn memory(field: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let found = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes: Option<u64> = found.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok());
    Ok(kilobytes.ok_or_else(|| format!("failed to read /proc/self/status: it has no {field}"))? * 1024)
}

/// Numbers of the processors that this thread may run on.
pub(crate) fn processors() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect())
}

/// Keeps this thread on one processor from now on.
pub(crate) fn stay_on(processor: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(processor);
    Ok(sched_setaffinity(None, &only)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_memory() {
        let before = cpu_seconds().unwrap();
        let mut sum = 0_u64;
        while cpu_seconds().unwrap() < before + 0.05 {
            sum = std::hint::black_box(sum + 1);
        }
        let held = memory_held().unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(peak_memory().unwrap() >= held + block.len() as u64 / 2);
    }

    #[test]
    fn a_thread_stays_where_it_is_put_and_others_do_not() {
        let all = processors().unwrap();
        let last = *all.last().unwrap();
        let stayed = std::thread::spawn(move || {
            stay_on(last).unwrap();
            processors().unwrap()
        });
        assert_eq!(stayed.join().unwrap(), [last]);
        assert_eq!(processors().unwrap(), all);
    }
}
