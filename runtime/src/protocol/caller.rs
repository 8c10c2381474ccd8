use std::time::{Duration, Instant};

use warp::http::HeaderMap;

/// Header with the name of the edge that asks, so that a cloud is fair between edges. Other servers pass headers by.
pub const EDGE_HEADER: &str = "meanet-edge";
/// Header with how long the caller waits, in milliseconds.
pub const TIMEOUT_HEADER: &str = "meanet-timeout-ms";
/// The longest name of an edge that is kept.
const MAX_NAME: usize = 253;

/// Who asks, and until when an answer is of use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The edge's name; empty for anybody else.
    pub edge: String,
    /// When it stops waiting.
    pub deadline: Option<Instant>,
}

impl Caller {
    /// From the headers of a request that arrived at `now`: ours, and `grpc-timeout`.
    #[must_use]
    pub fn read(headers: &HeaderMap, now: Instant) -> Self {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
        let timeout = text(TIMEOUT_HEADER)
            .and_then(|v| v.parse().ok())
            .map(Duration::from_millis)
            .or_else(|| text("grpc-timeout").and_then(grpc_timeout));
        Self {
            edge: text(EDGE_HEADER)
                .unwrap_or_default()
                .chars()
                .take(MAX_NAME)
                .collect(),
            deadline: timeout.and_then(|timeout| now.checked_add(timeout)),
        }
    }
}

/// At most eight digits and a unit.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value: u64 = digits.parse().ok().filter(|&v| v < 100_000_000)?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_says_its_name_and_its_patience() {
        let now = Instant::now();
        let read = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs
                .iter()
                .map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            Caller::read(&headers, now)
        };
        let ours = read(&[(EDGE_HEADER, "edge-1"), (TIMEOUT_HEADER, "150")]);
        assert_eq!(
            (ours.edge.as_str(), ours.deadline),
            ("edge-1", Some(now + Duration::from_millis(150)))
        );
        for (text, millis) in [("2S", 2000), ("150m", 150), ("1M", 60_000)] {
            let deadline = read(&[("grpc-timeout", text)]).deadline;
            assert_eq!(deadline, Some(now + Duration::from_millis(millis)));
        }
        for text in ["", "m", "1", "1x", "999999999S", "-1S"] {
            assert_eq!(read(&[("grpc-timeout", text)]), Caller::default());
        }
        assert_eq!(read(&[(TIMEOUT_HEADER, "soon")]), Caller::default());
    }
}
