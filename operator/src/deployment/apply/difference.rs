use serde_json::Value;

/// Lists whose elements the API server merges by name, and to which others may add their own.
const SHARED_LISTS: [&str; 5] = ["containers", "env", "initContainers", "volumeMounts", "volumes"];

/// Whether a live object has everything that `desired` says. What the API server adds by default, and what others
/// manage, does not count; what somebody changed or removed does.
pub(super) fn has(live: &Value, desired: &Value) -> bool {
    holds("", Some(live), desired)
}

fn holds(field: &str, live: Option<&Value>, desired: &Value) -> bool {
    let live = match live {
        None | Some(Value::Null) => return empty(desired),
        Some(live) => live,
    };
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired
            .iter()
            .all(|(name, value)| holds(name, live.get(name), value)),
        (Value::Array(live), Value::Array(desired)) if SHARED_LISTS.contains(&field) => desired
            .iter()
            .all(|value| live.iter().any(|candidate| holds("", Some(candidate), value))),
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len() && live.iter().zip(desired).all(|(l, d)| holds("", Some(l), d))
        }
        (Value::String(live), Value::String(desired)) => {
            live == desired
                || quantity(live)
                    .zip(quantity(desired))
                    .is_some_and(|(live, desired)| live == desired)
        }
        (Value::Number(live), Value::Number(desired)) => live == desired || live.as_f64() == desired.as_f64(),
        (live, desired) => live == desired || (empty(desired) && empty(live)),
    }
}

/// The API server leaves empty values out.
fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_i64() == Some(0),
        Value::String(value) => value.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.values().all(empty),
    }
}

/// A Kubernetes quantity in thousandths: the API server writes `1000m` as `1`.
fn quantity(text: &str) -> Option<i128> {
    const SUFFIXES: [(&str, i128); 14] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
        ("m", 0),
        ("", 1),
    ];
    let (digits, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.len() <= 12 && text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(part) {
        return None;
    }
    let scale = 10_i128.pow(u32::try_from(part.len()).ok()?);
    let number: i128 = format!("{whole}{part}").parse().ok()?;
    let thousandths = number.checked_mul(if factor == 0 { 1 } else { factor * 1000 })?;
    (thousandths % scale == 0).then_some(thousandths / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_and_other_managers_do_not_count() {
        let desired = json!({"a": {"b": 1}, "containers": [{"name": "x", "args": ["1", "2"]}], "none": []});
        let live = json!({"a": {"b": 1, "c": 2}, "d": 3,
            "containers": [{"name": "mesh"}, {"name": "x", "args": ["1", "2"], "terminationMessagePath": "/dev"}]});
        assert!(has(&live, &desired));
    }

    #[test]
    fn changes_and_removals_count() {
        let desired = json!({"rules": [{"verbs": ["get"]}], "args": ["1"], "n": 1, "s": "a"});
        for live in [
            json!({"rules": [{"verbs": ["get"]}, {"verbs": ["*"]}], "args": ["1"], "n": 1, "s": "a"}),
            json!({"rules": [{"verbs": ["get", "list"]}], "args": ["1"], "n": 1, "s": "a"}),
            json!({"rules": [{"verbs": ["get"]}], "args": ["2"], "n": 1, "s": "a"}),
            json!({"rules": [{"verbs": ["get"]}], "args": ["1"], "s": "a"}),
            json!({"rules": [{"verbs": ["get"]}], "args": ["1"], "n": 1, "s": "b"}),
        ] {
            assert!(!has(&live, &desired), "{live}");
        }
    }

    #[test]
    fn quantities_compare_by_value() {
        for (live, desired) in [
            ("1", "1000m"),
            ("500m", "0.5"),
            ("1Gi", "1024Mi"),
            ("1k", "1000"),
            ("1536Mi", "1.5Gi"),
        ] {
            assert!(has(&json!(live), &json!(desired)), "{live} {desired}");
        }
        for (live, desired) in [
            ("1", "2"),
            ("1Gi", "1G"),
            ("http", "https"),
            ("", "1"),
            (".5", "0.5"),
        ] {
            assert!(!has(&json!(live), &json!(desired)), "{live} {desired}");
        }
    }
}
