//! Constants and their doc comments, read from the source that declares them: names of labels, annotations and conditions
//! have no schema that could be asked.

/// A constant of type `&str`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    /// Its name in the source.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Its doc comment on one line; links to other constants of the file are replaced by their values.
    pub doc: String,
}

/// All public string constants of a source file, in its order.
pub fn constants(source: &str) -> Vec<Constant> {
    let mut found = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    for line in source.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            doc.push(words.trim());
            continue;
        }
        if let Some((name, value)) = constant(line) {
            found.push(Constant {
                name: name.to_owned(),
                value: value.to_owned(),
                doc: doc.join(" "),
            });
        }
        doc.clear();
    }
    let values: Vec<_> = found.iter().map(|c| (c.name.clone(), c.value.clone())).collect();
    for constant in &mut found {
        for (name, value) in &values {
            constant.doc = constant
                .doc
                .replace(&format!("[`{name}`]"), &format!("`{value}`"));
        }
    }
    found
}

fn constant(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
    Some((name, rest.strip_suffix("\";")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_has_the_comment_right_above_it() {
        let source = "/// Of nothing.\nfn f() {}\n\n/// One,\n/// like [`B`].\npub const A: &str = \"a\";\n/// A number.\npub const N: i32 = 1;\npub const B: &str = \"b\";\n";
        let found = constants(source);
        assert_eq!(
            found,
            [("A", "a", "One, like `b`."), ("B", "b", "")].map(|(name, value, doc)| Constant {
                name: name.to_owned(),
                value: value.to_owned(),
                doc: doc.to_owned(),
            })
        );
    }
}
