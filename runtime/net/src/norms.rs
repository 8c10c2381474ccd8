//! Statistics of the main block's batch norms for input that has changed: part of a [`Domain`](crate::Domain).

use snafu::{OptionExt, ensure};

use crate::weights::{KeySnafu, Tensors, WeightsError};

/// What their keys begin with in an adaptive blob.
const MAIN: &str = "main.";
const NETWORK: &str = "the main block's batch norms";

/// Running means and variances of a main block's batch norms, by its own keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Norms(Tensors);

impl Norms {
    /// The statistics among the tensors of a main block.
    pub(crate) fn among(main: Tensors) -> Self {
        Self(main.into_iter().filter(|(key, _)| is_statistic(key)).collect())
    }

    /// Takes them out of an adaptive block's tensors.
    pub(crate) fn take(adaptive: &mut Tensors) -> Self {
        let carried = adaptive.extract_if(.., |key, _| key.starts_with(MAIN));
        Self(
            carried
                .map(|(key, values)| (key[MAIN.len()..].to_owned(), values))
                .collect(),
        )
    }

    /// Puts them among an adaptive block's tensors.
    pub(crate) fn put(&self, adaptive: &mut Tensors) {
        let named = self.0.iter();
        adaptive.extend(named.map(|(key, values)| (format!("{MAIN}{key}"), values.clone())));
    }

    /// Sets them among a main block's tensors.
    pub(crate) fn set(&self, main: &mut Tensors) -> Result<(), WeightsError> {
        for (key, values) in &self.0 {
            let own = main.get_mut(key).filter(|_| is_statistic(key));
            let own = own.context(KeySnafu {
                network: NETWORK,
                key,
                reason: "is no statistic of this main block",
            })?;
            ensure!(
                !key.ends_with(VARIANCE) || values.data.iter().all(|variance| *variance >= 0.0),
                KeySnafu {
                    network: NETWORK,
                    key,
                    reason: "holds a variance below zero",
                }
            );
            own.clone_from(values);
        }
        Ok(())
    }
}

const MEAN: &str = ".running_mean";
const VARIANCE: &str = ".running_var";

fn is_statistic(key: &str) -> bool {
    key.ends_with(MEAN) || key.ends_with(VARIANCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Values;

    fn tensors(all: &[(&str, f32)]) -> Tensors {
        let values = |value: f32| Values {
            shape: vec![1],
            data: vec![value],
        };
        all.iter()
            .map(|&(key, value)| (key.to_owned(), values(value)))
            .collect()
    }

    #[test]
    fn they_travel_with_the_adaptive_block_and_change_nothing_else() {
        let main = tensors(&[
            ("stem.weight", 1.0),
            ("n.running_mean", 2.0),
            ("n.running_var", 3.0),
        ]);
        let norms = Norms::among(tensors(&[("stem.weight", 9.0), ("n.running_mean", 5.0)]));
        let own = tensors(&[("stem.weight", 7.0)]);
        let mut adaptive = own.clone();
        norms.put(&mut adaptive);
        assert_ne!(adaptive, own);
        assert_eq!(Norms::take(&mut adaptive), norms);
        assert_eq!(adaptive, own);
        let mut changed = main.clone();
        norms.set(&mut changed).unwrap();
        let expected = tensors(&[
            ("stem.weight", 1.0),
            ("n.running_mean", 5.0),
            ("n.running_var", 3.0),
        ]);
        assert_eq!(changed, expected);
    }

    #[test]
    fn what_is_no_statistic_is_refused_by_name() {
        for (key, value, said) in [
            ("stem.weight", 0.0, "stem.weight"),
            ("other.running_mean", 0.0, "other.running_mean"),
            ("n.running_var", -1.0, "below zero"),
            ("n.running_var", f32::NAN, "below zero"),
        ] {
            let mut main = tensors(&[("stem.weight", 1.0), ("n.running_var", 3.0)]);
            let before = main.clone();
            let error = Norms(tensors(&[(key, value)]))
                .set(&mut main)
                .unwrap_err()
                .to_string();
            assert!(error.contains(said), "{error}");
            assert_eq!(main, before);
        }
    }
}
