//! What a job says at its end: one JSON object in the file that Kubernetes takes the termination message from.

use std::path::Path;

use meanet_crds::report::{JobReport, MAX_BYTES};

/// Where Kubernetes looks.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

/// Writes the report, a failure shortened until it fits.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, report: &JobReport) -> std::io::Result<()> {
    std::fs::write(path, text(report))
}

fn text(report: &JobReport) -> String {
    let text = serde_json::to_string(report).unwrap_or_else(|e| failure(&e.to_string()));
    match report {
        _ if text.len() <= MAX_BYTES => text,
        JobReport::Failed { message } => {
            // Escapes make a character up to twelve bytes long.
            let mut length = message.len();
            loop {
                length /= 2;
                let end = (0..=length)
                    .rev()
                    .find(|&at| message.is_char_boundary(at))
                    .unwrap_or(0);
                let text = failure(&format!("{}…", &message[..end]));
                if text.len() <= MAX_BYTES || end == 0 {
                    return text;
                }
            }
        }
        JobReport::Succeeded { .. } => failure(&format!(
            "failed to report: the report has {} bytes, Kubernetes keeps {MAX_BYTES}; use fewer hard classes",
            text.len()
        )),
    }
}

fn failure(message: &str) -> String {
    serde_json::json!({"outcome": "Failed", "message": message}).to_string()
}

/// An error and its causes as one line.
#[must_use]
pub fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_fits_whatever_its_length() {
        for message in ["short".to_owned(), "ü\"\u{1}".repeat(4000)] {
            let text = text(&JobReport::Failed { message });
            assert!(text.len() <= MAX_BYTES);
            assert!(matches!(
                serde_json::from_str(&text),
                Ok(JobReport::Failed { .. })
            ));
        }
    }
}
