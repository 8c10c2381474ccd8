//! Fields of a structural schema, flat, as a reader looks them up.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::bounds::type_;

/// One object of a kind: `spec`, `spec.routing`, `status.nodes` and so on.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Path from the root, such as `spec.routing`.
    pub path: String,
    /// What it is.
    pub description: String,
    /// What the API server checks of it as a whole, in the words that it refuses with.
    pub rules: Vec<String>,
    /// Its fields, required ones first.
    pub fields: Vec<Field>,
}

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Type and bounds.
    pub type_: String,
    /// It has a section of its own.
    pub unfolds: bool,
    /// `required`, the default as JSON, or nothing.
    pub default: String,
    /// What it is.
    pub description: String,
    /// Values of an enum and what each means.
    pub values: Vec<(String, String)>,
    /// What the API server checks of it.
    pub rules: Vec<String>,
}

/// Fields whose types are Kubernetes' own, and where those are described.
const BORROWED: [(&str, &str, &str); 3] = [
    (
        "resources",
        "ResourceRequirements",
        "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
    ),
    (
        "tolerations",
        "[]Toleration",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/",
    ),
    ("conditions", "[]Condition", "#conditions"),
];

/// All objects below `path`. `schema` is what the API server gets, `typed` what the types say: only the latter has words
/// for the values of an enum.
pub fn sections(path: &str, schema: &Value, typed: &Value) -> Vec<Section> {
    let empty = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let required: BTreeSet<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut fields: Vec<_> = properties
        .iter()
        .map(|(name, schema)| {
            field(
                name,
                schema,
                &typed_property(typed, name),
                required.contains(name.as_str()),
            )
        })
        .collect();
    fields.sort_by_key(|field| field.default != REQUIRED);
    let mut found = vec![Section {
        path: path.to_owned(),
        description: description(schema),
        rules: rules(schema),
        fields,
    }];
    for (name, schema) in properties {
        if unfolds(name, schema) {
            found.extend(sections(
                &format!("{path}.{name}"),
                schema,
                &typed_property(typed, name),
            ));
        }
    }
    found
}

const REQUIRED: &str = "required";

fn borrowed(name: &str) -> Option<(&'static str, &'static str)> {
    BORROWED
        .iter()
        .find(|(field, _, _)| *field == name)
        .map(|(_, type_, url)| (*type_, *url))
}

fn unfolds(name: &str, schema: &Value) -> bool {
    schema["properties"].is_object() && borrowed(name).is_none()
}

fn field(name: &str, schema: &Value, typed: &Value, required: bool) -> Field {
    Field {
        name: name.to_owned(),
        type_: borrowed(name).map_or_else(|| type_(schema), |(type_, url)| format!("[{type_}]({url})")),
        unfolds: unfolds(name, schema),
        default: match &schema["default"] {
            _ if required => REQUIRED.to_owned(),
            Value::Null => String::new(),
            // An object's defaults stand at its fields.
            Value::Object(_) if schema["properties"].is_object() => String::new(),
            Value::String(text) => format!("`{text}`"),
            value => format!("`{value}`"),
        },
        description: description(schema),
        values: values(schema, typed),
        // An object's rules stand at its section.
        rules: if schema["properties"].is_object() {
            Vec::new()
        } else {
            rules(schema)
        },
    }
}

/// The property of a schema as schemars makes it, or of the alternative of it that is not null.
fn typed_property(typed: &Value, name: &str) -> Value {
    not_null(typed)["properties"][name].clone()
}

fn not_null(typed: &Value) -> &Value {
    typed["anyOf"]
        .as_array()
        .and_then(|of| of.iter().find(|schema| schema["type"] != "null"))
        .unwrap_or(typed)
}

fn values(schema: &Value, typed: &Value) -> Vec<(String, String)> {
    let words = |value: &str| {
        let all = not_null(typed)["oneOf"].as_array();
        let one = all.and_then(|all| {
            all.iter()
                .find(|one| one["const"] == value || one["enum"][0] == value)
        });
        one.map(description).unwrap_or_default()
    };
    schema["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|value| (value.to_owned(), words(value)))
        .collect()
}

fn description(schema: &Value) -> String {
    schema["description"]
        .as_str()
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn rules(schema: &Value) -> Vec<String> {
    schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|rule| {
            Some(format!(
                "{} (`{}`)",
                rule["message"].as_str()?,
                rule["rule"].as_str()?
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_found_with_bounds_defaults_rules_and_values() {
        let schema = json!({
            "description": "All\nof it.",
            "required": ["size"],
            "x-kubernetes-validations": [{"rule": "true", "message": "must fit"}],
            "properties": {
                "colour": {"type": "string", "enum": ["Red", "Blue"], "default": "Red"},
                "size": {"type": "integer", "minimum": 1.0, "maximum": 10.0, "description": "How large."},
                "inner": {"type": "object", "default": {}, "properties": {"wait": {
                    "type": "string", "pattern": "^([0-9]{1,9}ms)?$", "maxLength": 32, "default": "2ms"}}},
                "resources": {"type": "object", "properties": {"limits": {"type": "object"}}},
            },
        });
        let typed = json!({"properties": {"colour": {"anyOf": [
            {"oneOf": [{"const": "Red", "description": "Warm."}, {"const": "Blue", "description": "Cold."}]},
            {"type": "null"},
        ]}}});
        let found = sections("spec", &schema, &typed);
        let paths: Vec<_> = found.iter().map(|section| section.path.as_str()).collect();
        assert_eq!(
            paths,
            ["spec", "spec.inner"],
            "what is Kubernetes' own is not unfolded"
        );
        assert_eq!(
            (found[0].description.as_str(), found[0].rules.as_slice()),
            ("All of it.", &["must fit (`true`)".to_owned()][..])
        );
        let names: Vec<_> = found[0].fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(
            names,
            ["size", "colour", "inner", "resources"],
            "required fields come first"
        );
        let (size, colour, inner) = (&found[0].fields[0], &found[0].fields[1], &found[0].fields[2]);
        assert_eq!(
            (size.type_.as_str(), size.default.as_str()),
            ("integer, 1 to 10", "required")
        );
        assert_eq!(colour.default, "`Red`");
        assert_eq!(
            colour.values,
            [("Red", "Warm."), ("Blue", "Cold.")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        assert_eq!(inner.default, "");
        let wait = &found[1].fields[0];
        assert_eq!(
            (wait.type_.as_str(), wait.default.as_str()),
            ("duration, such as `150ms`, `2s`, `1m30s`", "`2ms`")
        );
    }
}
