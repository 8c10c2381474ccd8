use super::super::stored::tests::stored;
use super::*;
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn args(flags: &[&str]) -> Result<Args, clap::Error> {
    Cli::try_parse_from(["choose", "--eval", "run"].iter().chain(flags)).map(|cli| cli.args)
}

fn setting(flags: &[&str]) -> Result<(Setting, Tally), String> {
    let present = Setting::from(&RoutingSpec::default());
    pick(&args(flags).unwrap(), &stored(), &present).map_err(|e| e.to_string())
}

#[test]
fn one_goal_is_wanted_and_only_one() {
    assert!(args(&[]).is_err());
    assert!(args(&["--offload-budget", "0.2", "--max-risk", "0.1"]).is_err());
    assert!(args(&["--max-risk", "0.1", "--two-stage"]).is_err());
}

#[test]
fn the_routing_is_one_that_the_api_takes_and_the_edge_reads_alike() {
    let (setting, _) = setting(&["--offload-budget", "0.2", "--two-stage"]).unwrap();
    let fragment = fragment(&setting, &RoutingSpec::default(), None);
    let yaml = serde_saphyr::to_string(&fragment).unwrap();
    let read: Value = serde_saphyr::from_str(&yaml).unwrap();
    let spec: RoutingSpec = serde_json::from_value(read["spec"]["routing"].clone()).unwrap();
    assert_eq!(Setting::from(&spec), setting, "{yaml}");
}

#[test]
fn a_value_someone_has_set_is_taken_away() {
    let (setting, _) = setting(&["--offload-budget", "0.2"]).unwrap();
    let before = RoutingSpec {
        extension_offload_above: Some(0.5),
        ..RoutingSpec::default()
    };
    assert_eq!(
        fragment(&setting, &before, None)["spec"]["routing"].get("extensionOffloadAbove"),
        Some(&Value::Null)
    );
    let without = fragment(&setting, &RoutingSpec::default(), None);
    assert_eq!(without["spec"]["routing"].get("extensionOffloadAbove"), None);
}

#[test]
fn goals_are_kept_on_the_selection_images() {
    assert!(setting(&["--offload-budget", "0.2"]).unwrap().1.offload() <= 0.2);
    assert!(setting(&["--target-accuracy", "0.7"]).unwrap().1.accuracy() >= 0.7);
    let (_, tally) = setting(&["--max-risk", "0.2", "--risk", "missed"]).unwrap();
    assert!(tally.missed < 40, "{} of 200", tally.missed);
    assert!(
        setting(&["--target-accuracy", "1"])
            .unwrap_err()
            .contains("best threshold")
    );
    assert!(
        setting(&["--offload-budget", "0.2", "--score", "learned"])
            .unwrap_err()
            .contains("what-if")
    );
}
