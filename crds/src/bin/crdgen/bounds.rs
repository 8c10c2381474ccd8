//! The type of a field and its bounds, in words.

use serde_json::Value;

/// `integer, 1 to 10`, `duration, such as …`, `list of string, at most 32 of them` and so on.
pub fn type_(schema: &Value) -> String {
    let bound = |key: &str| schema[key].as_f64();
    let duration = schema["pattern"]
        .as_str()
        .is_some_and(|pattern| pattern.contains("ms)?$"));
    let mut words = vec![match schema["type"].as_str().unwrap_or_default() {
        "array" => format!("list of {}", type_(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => "map of strings".to_owned(),
        "string" if schema["enum"].is_array() => "enum".to_owned(),
        "string" if duration => "duration, such as `150ms`, `2s`, `1m30s`".to_owned(),
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        name => name.to_owned(),
    }];
    match (bound("minimum"), bound("maximum")) {
        (Some(min), Some(max)) => words.push(format!("{min} to {max}")),
        (Some(min), None) => words.push(format!("at least {min}")),
        (None, Some(max)) => words.push(format!("at most {max}")),
        (None, None) => {}
    }
    if !duration {
        words.extend(bound("maxLength").map(|max| format!("at most {max} characters")));
        words.extend(
            schema["pattern"]
                .as_str()
                .map(|pattern| format!("matching `{pattern}`")),
        );
    }
    let exact = schema["minItems"] == schema["maxItems"];
    let most = if exact { "" } else { "at most " };
    words.extend(bound("maxItems").map(|max| format!("{most}{max} of them")));
    words.extend(bound("minProperties").map(|min| format!("at least {min} of them")));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_are_said() {
        for (schema, words) in [
            (
                json!({"type": "integer", "minimum": 1.0, "maximum": 10.0}),
                "integer, 1 to 10",
            ),
            (json!({"type": "number", "minimum": 0.5}), "number, at least 0.5"),
            (
                json!({"type": "string", "maxLength": 71}),
                "string, at most 71 characters",
            ),
            (
                json!({"type": "array", "items": {"type": "integer"}, "maxItems": 3}),
                "list of integer, at most 3 of them",
            ),
            (
                json!({"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 3}),
                "list of integer, 3 of them",
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}),
                "map of strings, at least 1 of them",
            ),
            (
                json!({"type": "string", "pattern": "^[a-z]$"}),
                "string, matching `^[a-z]$`",
            ),
        ] {
            assert_eq!(type_(&schema), words);
        }
    }
}
