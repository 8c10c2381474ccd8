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
    let present = Setting::try_from(&RoutingSpec::default()).unwrap();
    pick(&args(flags).unwrap(), &stored(), &present).map_err(|e| e.to_string())
}

#[test]
fn one_goal_is_wanted_and_only_one() {
    assert!(args(&[]).is_err());
    assert!(args(&["--offload-budget", "0.2", "--max-risk", "0.1"]).is_err());
    assert!(args(&["--max-risk", "0.1", "--two-stage"]).is_err());
    assert!(args(&["--max-risk", "0.1", "--extend-cost", "0.1"]).is_err());
}

#[test]
fn the_routing_is_one_that_the_api_takes_and_the_edge_reads_alike() {
    let (setting, _) = setting(&["--offload-budget", "0.2", "--two-stage"]).unwrap();
    let fragment = fragment(&setting, &RoutingSpec::default(), None);
    let yaml = serde_saphyr::to_string(&fragment).unwrap();
    let read: Value = serde_saphyr::from_str(&yaml).unwrap();
    let spec: RoutingSpec = serde_json::from_value(read["spec"]["routing"].clone()).unwrap();
    assert_eq!(Setting::try_from(&spec).unwrap(), setting, "{yaml}");
}

#[test]
fn a_router_goes_with_the_learned_score_and_is_what_the_thresholds_were_chosen_for() {
    let learned = |flags: &[&str]| setting(&[&["--score", "learned"], flags].concat());
    let (setting, tally) = learned(&["--offload-budget", "0.2"]).unwrap();
    let yaml = serde_saphyr::to_string(&fragment(&setting, &RoutingSpec::default(), None)).unwrap();
    let read: Value = serde_saphyr::from_str(&yaml).unwrap();
    let spec: RoutingSpec = serde_json::from_value(read["spec"]["routing"].clone()).unwrap();
    assert_eq!(Setting::try_from(&spec).unwrap(), setting, "{yaml}");
    let images = stored().selection;
    let read = Setting::try_from(&spec).unwrap();
    // Whatever else there is to fit one to.
    let mut others = images.clone();
    others.labels.reverse();
    assert_eq!(read.tally(&read.judge(&images, &others).unwrap()), tally);
    assert!(tally.offload() > 0.0 && tally.offload() <= 0.2);
    // What weights were fitted to proves nothing about them.
    let error = learned(&["--max-risk", "0.2"]).unwrap_err();
    assert!(error.contains("--score"), "{error}");
}

#[test]
fn a_value_someone_has_set_is_taken_away() {
    let (setting, _) = setting(&["--max-risk", "0.2", "--risk", "missed"]).unwrap();
    let before = RoutingSpec {
        extend_above: Some(0.1),
        extension_offload_above: Some(0.5),
        ..RoutingSpec::default()
    };
    let (with, without) = (
        fragment(&setting, &before, None),
        fragment(&setting, &RoutingSpec::default(), None),
    );
    for name in ["extendAbove", "extensionOffloadAbove"] {
        assert_eq!(with["spec"]["routing"].get(name), Some(&Value::Null));
        assert_eq!(without["spec"]["routing"].get(name), None);
    }
}

#[test]
fn the_extension_is_asked_as_little_as_the_bound_allows() {
    // One hard class is taken for the other where the main exit is not quite sure, and the extension mends that.
    let mut stored = stored();
    let images = &mut stored.selection;
    for (row, label) in images.main.iter_mut().zip(&images.labels) {
        if *label == 3 && row[3] > 1.0 && row[3] < 3.0 {
            row.swap(1, 3);
            row.swap(0, 3);
        }
    }
    let chosen = |flags: &[&str]| {
        let args = args(&[&["--offload-budget", "0.2"], flags].concat()).unwrap();
        pick(
            &args,
            &stored,
            &Setting::try_from(&RoutingSpec::default()).unwrap(),
        )
        .unwrap()
    };
    // The edge by itself, on the images that the threshold was chosen by.
    let right = |setting: &Setting| {
        let alone = Setting {
            offload_above: None,
            ..*setting
        };
        let images = &stored.selection;
        alone.tally(&alone.judge(images, images).unwrap()).right()
    };
    let (all, asked_about_all) = chosen(&["--extend-above", "0"]);
    let (chosen_by_default, asked) = chosen(&[]);
    let (dearest, _) = chosen(&["--extend-cost", "0.03"]);
    assert!(asked.extended > 0 && asked.extended < asked_about_all.extended);
    // Of 200 images, a thousandth is none, and 3 in 100 are 6.
    assert_eq!(right(&chosen_by_default), right(&all));
    assert!(dearest.extend_above > chosen_by_default.extend_above);
    assert!((1..=6).contains(&(right(&all) - right(&dearest))));
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
}
