//! The evaluation as a user runs it, on the weights that are shipped and images that the project draws.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn meanet(arguments: &[&str]) -> Output {
    // No data set, whatever the environment says: the images are drawn.
    Command::new(env!("CARGO_BIN_EXE_meanet"))
        .args(arguments)
        .env_remove("MEANET_DATA")
        .output()
        .unwrap()
}

fn said(arguments: &[&str]) -> String {
    let output = meanet(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_model_runs_once_and_every_question_is_answered_from_what_was_stored() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/cifar100");
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let run = run.to_str().unwrap();
    said(&["eval", "--model", model, "--limit", "40", "--out", run]);

    let page = fs::read_to_string(Path::new(run).join("report.html")).unwrap();
    assert!(page.ends_with("</html>\n") && page.contains("<svg"));
    for foreign in ["http://", "https://", "<script", "@import", "NaN"] {
        assert!(!page.contains(foreign), "the page has {foreign}");
    }

    let json = |arguments: &[&str]| -> Value { serde_json::from_str(&said(arguments)).unwrap() };
    let all = json(&["what-if", "--eval", run, "--offload-above", "0", "--json"]);
    assert!(
        all["proposed"]["figures"]["offload"].as_f64().unwrap() > 0.9,
        "{all}"
    );
    let none = json(&["what-if", "--eval", run, "--offload-above", "20", "--json"]);
    assert_eq!(none["proposed"]["figures"]["offload"], 0.0);
    assert_eq!(
        none["proposed"]["figures"]["images"], 20,
        "the other half is for fitting"
    );

    let chosen = json(&["choose", "--eval", run, "--offload-budget", "0.25", "--json"]);
    assert!(
        chosen["selection"]["offload"].as_f64().unwrap() <= 0.25,
        "{chosen}"
    );
    let above = |name: &str| chosen["setting"][name].to_string();
    let (offload, extend) = (above("offloadAbove"), above("extendAbove"));
    let mut asked = vec!["what-if", "--eval", run, "--json", "--offload-above", &offload];
    if extend != "null" {
        asked.extend(["--extend-above", &extend]);
    }
    let asked = json(&asked);
    assert_eq!(
        asked["proposed"]["figures"], chosen["report"],
        "both commands speak of the same images"
    );

    let refused = meanet(&["choose", "--eval", run, "--max-risk", "0.01"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && words.contains("more images"),
        "{words}"
    );

    // Another profile changes joules and nothing else, without the model.
    let report = || -> Value {
        serde_json::from_slice(&fs::read(Path::new(run).join("report.json")).unwrap()).unwrap()
    };
    let before = report();
    let profile = folder.path().join("profile.yaml");
    fs::write(
        &profile,
        "edge: {joulesPerMac: 1.0}\nuplink: {watts: 0, bytesPerSecond: 1.0}\n",
    )
    .unwrap();
    said(&["report", "--eval", run, "--energy", profile.to_str().unwrap()]);
    let (old, new) = (&before["lines"][0], &report()["lines"][0]);
    assert_eq!(new["spent"]["joules"], new["spent"]["edgeMacs"], "one joule each");
    assert_ne!(old["spent"]["joules"], new["spent"]["joules"]);
    assert_eq!(old["accuracy"], new["accuracy"]);
}
