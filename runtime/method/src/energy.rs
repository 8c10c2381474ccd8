//! What answers cost: multiply-accumulates, bytes and, through a profile that the user can replace, joules.

use serde::{Deserialize, Serialize};
use snafu::{Snafu, ensure};

use crate::route::Exit;
use crate::tally::Tally;

/// What one image costs, part by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Costs {
    /// Multiply-accumulates of the main block: paid by every image.
    pub main_macs: u64,
    /// Of adaptive and extension block together: paid where the extension runs.
    pub extension_macs: u64,
    /// Of the cloud's network; 0 without one.
    pub cloud_macs: u64,
    /// Bytes of pixels that go to the cloud with one image.
    pub image_bytes: u64,
}

/// Joules of computing and sending.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnergyProfile {
    /// The edge device.
    pub edge: EdgeEnergy,
    /// Its way to the cloud.
    pub uplink: Uplink,
    /// Joules per multiply-accumulate in the cloud; 0 where only the edge's battery counts.
    #[serde(default)]
    pub cloud_joules_per_mac: f64,
}

/// What computing costs at the edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EdgeEnergy {
    /// Joules per multiply-accumulate.
    pub joules_per_mac: f64,
}

/// What sending costs at the edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Uplink {
    /// Power of the radio while it sends.
    pub watts: f64,
    /// Its rate.
    pub bytes_per_second: f64,
}

/// A profile that cannot be.
#[derive(Debug, Clone, PartialEq, Snafu)]
#[snafu(display("failed to take the energy profile: {field} is {value}; give a {remedy} number"))]
pub struct ProfileError {
    field: &'static str,
    value: f64,
    remedy: &'static str,
}

impl Default for EnergyProfile {
    /// Wi-Fi by the power model of Huang et al. 2012, `283.17 · Mbit/s + 132.86` mW, at an assumed 18.88 Mbit/s up; and an
    /// assumed edge device of 5 W that sustains 50 billion multiply-accumulates a second. Replace both by measurements.
    fn default() -> Self {
        let megabits = 18.88;
        Self {
            edge: EdgeEnergy {
                joules_per_mac: 5.0 / 50e9,
            },
            uplink: Uplink {
                watts: (283.17 * megabits + 132.86) / 1000.0,
                bytes_per_second: megabits * 1e6 / 8.0,
            },
            cloud_joules_per_mac: 0.0,
        }
    }
}

/// What one image costs on average, or by one way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    /// Multiply-accumulates at the edge.
    pub edge_macs: f64,
    /// Multiply-accumulates in the cloud.
    pub cloud_macs: f64,
    /// Bytes of pixels sent.
    pub bytes: f64,
    /// Joules by the profile.
    pub joules: f64,
}

impl EnergyProfile {
    /// Checks that all figures are finite and not negative, and the rate positive.
    pub fn check(&self) -> Result<(), ProfileError> {
        for (field, value) in [
            ("edge.joulesPerMac", self.edge.joules_per_mac),
            ("uplink.watts", self.uplink.watts),
            ("cloudJoulesPerMac", self.cloud_joules_per_mac),
        ] {
            ensure!(
                value.is_finite() && value >= 0.0,
                ProfileSnafu {
                    field,
                    value,
                    remedy: "finite, not negative"
                }
            );
        }
        let value = self.uplink.bytes_per_second;
        ensure!(
            value.is_finite() && value > 0.0,
            ProfileSnafu {
                field: "uplink.bytesPerSecond",
                value,
                remedy: "positive"
            }
        );
        Ok(())
    }

    /// Mean cost of an image of `tally`.
    #[must_use]
    pub fn spent(&self, tally: &Tally, costs: &Costs) -> Spent {
        self.cost(1.0, tally.extended_share(), tally.offload(), costs)
    }

    /// Cost of one image that leaves by `exit`; `extended` says whether the extension ran before it was sent on.
    #[must_use]
    pub fn way_out(&self, exit: Exit, extended: bool, costs: &Costs) -> Spent {
        let extended = if extended || exit == Exit::Extension {
            1.0
        } else {
            0.0
        };
        self.cost(1.0, extended, if exit == Exit::Cloud { 1.0 } else { 0.0 }, costs)
    }

    /// Cost of an image that is sent without asking the edge.
    #[must_use]
    pub fn cloud_only(&self, costs: &Costs) -> Spent {
        self.cost(0.0, 0.0, 1.0, costs)
    }

    fn cost(&self, main: f64, extended: f64, sent: f64, costs: &Costs) -> Spent {
        let edge_macs = main * costs.main_macs as f64 + extended * costs.extension_macs as f64;
        let cloud_macs = sent * costs.cloud_macs as f64;
        let bytes = sent * costs.image_bytes as f64;
        let joules = edge_macs * self.edge.joules_per_mac
            + bytes / self.uplink.bytes_per_second * self.uplink.watts
            + cloud_macs * self.cloud_joules_per_mac;
        Spent {
            edge_macs,
            cloud_macs,
            bytes,
            joules,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::judged;
    use proptest::prelude::*;

    const COSTS: Costs = Costs {
        main_macs: 100,
        extension_macs: 50,
        cloud_macs: 1000,
        image_bytes: 3072,
    };

    fn profile() -> EnergyProfile {
        EnergyProfile {
            edge: EdgeEnergy { joules_per_mac: 2.0 },
            uplink: Uplink {
                watts: 10.0,
                bytes_per_second: 1024.0,
            },
            cloud_joules_per_mac: 1.0,
        }
    }

    #[test]
    fn each_way_out_has_its_price() {
        let joules = |exit, extended| profile().way_out(exit, extended, &COSTS).joules;
        assert!((joules(Exit::Main, false) - 200.0).abs() < 1e-9);
        assert!((joules(Exit::Extension, false) - 300.0).abs() < 1e-9);
        assert!((joules(Exit::Cloud, false) - (200.0 + 30.0 + 1000.0)).abs() < 1e-9);
        assert!((joules(Exit::Cloud, true) - (300.0 + 30.0 + 1000.0)).abs() < 1e-9);
        assert!((profile().cloud_only(&COSTS).joules - 1030.0).abs() < 1e-9);
    }

    #[test]
    fn a_profile_that_cannot_be_names_its_field() {
        let mut profile = profile();
        profile.uplink.bytes_per_second = 0.0;
        assert!(
            profile
                .check()
                .unwrap_err()
                .to_string()
                .contains("uplink.bytesPerSecond")
        );
        profile = EnergyProfile {
            cloud_joules_per_mac: f64::NAN,
            ..EnergyProfile::default()
        };
        assert!(
            profile
                .check()
                .unwrap_err()
                .to_string()
                .contains("cloudJoulesPerMac")
        );
        assert!(EnergyProfile::default().check().is_ok());
    }

    proptest! {
        #[test]
        fn the_mean_is_the_mean_of_the_ways_out(judged in judged(40), above in 0_f32..1.0) {
            let tally = Tally::of(&judged, above, None);
            let each: f64 = judged
                .iter()
                .map(|one| profile().way_out(one.exit(above, None), one.extends(above), &COSTS).joules)
                .sum();
            prop_assert!((profile().spent(&tally, &COSTS).joules - each / judged.len() as f64).abs() < 1e-6);
        }
    }
}
