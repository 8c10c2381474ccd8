//! What networks cost, what they are called, and that others compute the same.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod costs;
mod onnx;

use std::collections::BTreeSet;

use meanet_crds::deployment as crd;
use meanet_net::{Backbone, Variant};

#[test]
fn deployments_can_name_exactly_the_networks_there_are() {
    let declared: BTreeSet<String> = crd::Backbone::ALL.iter().map(|b| b.as_str().to_owned()).collect();
    let there: BTreeSet<String> = Backbone::all().map(|b| b.to_string()).collect();
    assert_eq!(declared, there);
    for variant in [crd::Variant::Split, crd::Variant::Extend] {
        let named: Variant = variant.as_str().parse().unwrap();
        assert_eq!(format!("{named:?}"), variant.as_str());
    }
}
