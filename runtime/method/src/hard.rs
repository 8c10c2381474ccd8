use snafu::{Snafu, ensure};

/// The classes that the extension answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardClasses {
    /// Ascending; output `i` of the extension means class `classes[i]`.
    classes: Vec<u32>,
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
    /// Takes the ascending table of a model with `classes` classes.
    pub fn new(table: &[u32], classes: usize) -> Result<Self, HardClassesError> {
        if let Some(pair) = table.windows(2).find(|pair| pair[0] >= pair[1]) {
            return OrderSnafu {
                class: pair[0],
                next: pair[1],
            }
            .fail();
        }
        let mut is_hard = vec![false; classes];
        for &class in table {
            ensure!((class as usize) < classes, RangeSnafu { class, classes });
            is_hard[class as usize] = true;
        }
        Ok(Self {
            classes: table.to_vec(),
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
        self.classes.get(index).copied()
    }

    /// Number of hard classes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether no class is hard.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_checked_and_looked_up() {
        let hard = HardClasses::new(&[1, 5, 7], 10).unwrap();
        assert!(hard.contains(5) && !hard.contains(4) && !hard.contains(99));
        assert_eq!((hard.class(2), hard.class(3)), (Some(7), None));
        assert!(matches!(
            HardClasses::new(&[5, 5], 10),
            Err(HardClassesError::Order { .. })
        ));
        assert!(matches!(
            HardClasses::new(&[10], 10),
            Err(HardClassesError::Range { .. })
        ));
    }
}
