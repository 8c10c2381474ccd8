use snafu::{Snafu, ensure};

/// The classes for which the extension is asked, and those that it can answer with: an extension that has seen what is
/// routed to it can also say that the main block was wrong to name a hard class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardClasses {
    /// Ascending; output `i` of the extension means class `outputs[i]`.
    outputs: Vec<u32>,
    is_hard: Vec<bool>,
}

/// A table that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[non_exhaustive]
pub enum HardClassesError {
    /// Not strictly ascending.
    #[snafu(display(
        "failed to take hardClasses: they must ascend without repetition, but {next} follows {class}"
    ))]
    Order {
        /// A class.
        class: u32,
        /// The one after it.
        next: u32,
    },
    /// A class that the extension has no output for.
    #[snafu(display(
        "failed to take hardClasses: the extension cannot answer with class {class}; name classes of its outputs"
    ))]
    Output {
        /// The class.
        class: u32,
    },
    /// A class that the main block does not know.
    #[snafu(display("failed to take hardClasses: {class} is not one of the model's {classes} classes"))]
    Range {
        /// The class.
        class: u32,
        /// Classes of the main block.
        classes: usize,
    },
}

impl HardClasses {
    /// Takes the ascending `table` of hard classes, for an extension whose `outputs` mean these classes, ascending too, of a
    /// model with `classes` classes.
    pub fn new(table: &[u32], outputs: &[u32], classes: usize) -> Result<Self, HardClassesError> {
        for ascending in [table, outputs] {
            if let Some(pair) = ascending.windows(2).find(|pair| pair[0] >= pair[1]) {
                return OrderSnafu {
                    class: pair[0],
                    next: pair[1],
                }
                .fail();
            }
            if let Some(&class) = ascending.last() {
                ensure!((class as usize) < classes, RangeSnafu { class, classes });
            }
        }
        let mut is_hard = vec![false; classes];
        for &class in table {
            ensure!(outputs.binary_search(&class).is_ok(), OutputSnafu { class });
            is_hard[class as usize] = true;
        }
        Ok(Self {
            outputs: outputs.to_vec(),
            is_hard,
        })
    }

    /// Whether `class` is hard.
    #[must_use]
    pub fn contains(&self, class: u32) -> bool {
        self.is_hard.get(class as usize).copied().unwrap_or(false)
    }

    /// The class that output `index` of the extension means.
    #[must_use]
    pub fn class(&self, index: usize) -> Option<u32> {
        self.outputs.get(index).copied()
    }

    /// Number of outputs of the extension.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_checked_and_looked_up() {
        let hard = HardClasses::new(&[1, 5], &[1, 4, 5], 10).unwrap();
        assert!(hard.contains(5) && !hard.contains(4) && !hard.contains(99));
        assert_eq!((hard.class(2), hard.class(3)), (Some(5), None));
        let error = |table: &[u32], outputs: &[u32]| HardClasses::new(table, outputs, 10).unwrap_err();
        assert!(matches!(error(&[5, 5], &[5]), HardClassesError::Order { .. }));
        assert!(matches!(error(&[1], &[5, 1]), HardClassesError::Order { .. }));
        assert!(matches!(error(&[10], &[10]), HardClassesError::Range { .. }));
        assert!(matches!(
            error(&[1, 5], &[1, 4]),
            HardClassesError::Output { class: 5 }
        ));
    }
}
