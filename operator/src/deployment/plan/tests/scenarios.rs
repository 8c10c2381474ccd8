use super::*;

#[test]
fn first_weights_reach_all_nodes_at_once() {
    let mut world = World::new(&["a", "b", "c"]);
    let plan = world.step();
    assert_eq!(plan.import.as_deref(), Some("cams-import-00000000"));
    assert!(plan.in_cloud.is_none(), "the cloud has nothing to serve yet");
    assert_eq!(verdict(&plan, condition::READY).reason, "Importing");
    world.ends(Component::Import, success('a', None));
    let plan = world.step();
    assert_eq!(plan.drafts.len(), 1);
    let first = plan.drafts[0].name_any();
    assert!(
        plan.twins
            .values()
            .all(|twin| twin.revision.as_ref() == Some(&first))
    );
    let plan = world.settle();
    assert_eq!(verdict(&plan, condition::READY).status, Some(true));
    assert_eq!((plan.current.as_ref(), plan.drafts.len()), (Some(&first), 0));
}

#[test]
fn the_same_observation_gives_the_same_plan() {
    let world = World::running(&["a", "b"]);
    let (one, two) = (world.plan(), world.plan());
    assert_eq!(format!("{one:?}"), format!("{two:?}"));
}

#[test]
fn a_failed_import_is_tried_again_after_a_pause() {
    let mut world = World::new(&["a"]);
    world.step();
    let (at, ran) = (world.now, Duration::from_secs(40));
    world.ends(
        Component::Import,
        Outcome::Failed {
            at,
            ran,
            message: "no manifest".to_owned(),
        },
    );
    let plan = world.step();
    assert_eq!(verdict(&plan, condition::WEIGHTS_READY).message, "no manifest");
    assert_eq!((plan.look_again, plan.delete_jobs.len()), (Some(ran), 0));
    world.pass(40);
    assert_eq!(world.step().delete_jobs, ["cams-import-00000000"]);
    assert!(world.step().import.is_some());
}

#[test]
fn another_digest_is_imported_at_once_while_the_old_weights_serve() {
    let mut world = World::running(&["a"]);
    let old = world.wants("a");
    world.patch(&json!({"model": {"weights": {"digest": format!("sha256:{}", "9".repeat(64))}}}));
    let plan = world.step();
    assert_eq!(plan.import.as_deref(), Some("cams-import-99999999"));
    assert_eq!(plan.delete_jobs, ["cams-import-00000000"]);
    assert_eq!(
        (plan.target.clone(), world.wants("a")),
        (old.clone(), old.clone())
    );
    world.patch(&json!({"routing": {"offloadAbove": 3.0}}));
    world.settle();
    assert_ne!(world.wants("a"), old, "routing is live meanwhile");
    world.ends(Component::Import, success('e', None));
    let plan = world.settle();
    let target = world
        .observed
        .revisions
        .iter()
        .find(|r| Some(r.name_any()) == plan.target)
        .unwrap();
    assert!(target.spec.weights.adaptive.contains('e'));
    assert_eq!(verdict(&plan, condition::READY).status, Some(true));
}

#[test]
fn routing_reaches_every_node_at_once_and_back_again_makes_nothing_new() {
    let mut world = World::running(&["a", "b", "c"]);
    let first = world.wants("a");
    world.patch(&json!({"routing": {"offloadAbove": 2.0}}));
    let plan = world.step();
    assert!(
        plan.twins
            .values()
            .all(|twin| twin.revision == plan.target && twin.revision != first)
    );
    world.settle();
    world.patch(&json!({"routing": {"offloadAbove": 0.9}}));
    let plan = world.step();
    assert_eq!((plan.target, plan.drafts.len()), (first, 0));
}

#[test]
fn accuracy_at_the_edge_goes_on_with_offloading_and_not_with_extending() {
    let mut world = World::running(&["a"]);
    world.retrained('b', 0.1);
    world.settle();
    for (routing, known) in [
        (json!({"offloadAbove": 2.0}), true),
        (json!({"extendAbove": 0.2}), false),
    ] {
        world.patch(&json!({"routing": routing}));
        let plan = world.step();
        assert_eq!(plan.drafts[0].spec.evaluation.is_some(), known, "{routing}");
        world.settle();
    }
}

#[test]
fn another_precision_goes_node_by_node_on_the_same_weights_and_back() {
    let mut world = World::running(&["a", "b"]);
    let first = world.wants("a");
    world.patch(&json!({"model": {"precision": "Int8"}}));
    let plan = world.step();
    let draft = &plan.drafts[0].spec;
    assert_eq!((plan.drafts.len(), draft.cause), (1, Cause::PrecisionChanged));
    assert_eq!(
        (draft.parent.clone(), draft.evaluation.clone()),
        (first.clone(), None)
    );
    assert_eq!(draft.weights, world.observed.revisions[0].spec.weights);
    assert_eq!(
        (world.wants("a"), world.wants("b")),
        (plan.target.clone(), first.clone())
    );
    world.live("a");
    world.step();
    assert_eq!(world.wants("b"), plan.target);
    world.settle();
    assert_eq!(world.step().target, plan.target);
    world.patch(&json!({"model": {"precision": "Float32"}}));
    let plan = world.step();
    assert_eq!((plan.target, plan.drafts.len()), (first, 0));
}

#[test]
fn new_weights_go_node_by_node_in_order() {
    let mut world = World::running(&["a", "b", "c"]);
    let old = world.wants("a");
    let plan = world.retrained('b', 0.1);
    let new = plan.target.clone();
    let want = |world: &World| ["a", "b", "c"].map(|node| world.wants(node) == new);
    assert_eq!(want(&world), [true, false, false]);
    world.step();
    assert_eq!(want(&world), [true, false, false], "b waits for a");
    world.live("a");
    assert_eq!(world.step().current, old, "not every node has it");
    assert_eq!(want(&world), [true, true, false]);
    world.live("b");
    world.step();
    world.live("c");
    assert_eq!(world.step().current, new);
}

#[test]
fn max_in_flight_nodes_load_together() {
    let mut world = World::running(&["a", "b", "c", "d"]);
    world.patch(&json!({"rollout": {"maxInFlight": 3}}));
    let new = world.retrained('b', 0.1).target;
    assert_eq!(
        ["a", "b", "c", "d"].map(|node| world.wants(node) == new),
        [true, true, true, false]
    );
}

#[test]
fn a_failed_node_stops_the_rollout_and_a_rollback_gets_past_it() {
    let mut world = World::running(&["a", "b"]);
    let old = world.wants("a").unwrap();
    let new = world.retrained('b', 0.1).target;
    world.fails("a");
    let plan = world.step();
    assert_eq!(verdict(&plan, condition::PROGRESSING).reason, "NodeFailed");
    assert_eq!(plan.twins["a"].state, NodeState::Failed);
    assert_eq!((world.wants("a"), world.wants("b")), (new, Some(old.clone())));
    world.patch(&json!({"rollout": {"pinnedRevision": old}}));
    world.step();
    assert_eq!(
        (world.wants("a"), world.wants("b")),
        (Some(old.clone()), Some(old)),
        "both still run it"
    );
}

#[test]
fn the_deadline_runs_only_while_a_node_can_be_reached() {
    let mut world = World::running(&["a", "b"]);
    world.retrained('b', 0.1);
    world.pass(60);
    assert_eq!(
        verdict(&world.step(), condition::PROGRESSING).reason,
        "RollingOut"
    );
    world.reachable("a", false);
    world.pass(600);
    let plan = world.step();
    assert_eq!(plan.twins["b"].revision, plan.target, "the next one has its turn");
    world.live("b");
    world.reachable("a", true);
    assert_eq!(
        verdict(&world.step(), condition::PROGRESSING).reason,
        "RollingOut"
    );
    world.pass(120);
    assert_eq!(
        verdict(&world.step(), condition::PROGRESSING).reason,
        "ProgressDeadlineExceeded"
    );
    world.live("a");
    assert_eq!(verdict(&world.step(), condition::PROGRESSING).reason, "Complete");
}

#[test]
fn nodes_out_of_reach_are_skipped_and_caught_up() {
    let mut world = World::running(&["a", "b"]);
    let old = world.wants("a");
    world.reachable("a", false);
    let new = world.retrained('b', 0.1).target;
    let plan = world.settle();
    assert_eq!((world.wants("a"), world.wants("b")), (old, new.clone()));
    assert_eq!((plan.current.as_ref(), plan.nodes.offline), (new.as_ref(), 1));
    assert_eq!(verdict(&plan, condition::READY).status, Some(true));
    world.reachable("a", true);
    world.settle();
    assert_eq!(world.wants("a"), new);
}

#[test]
fn a_node_that_joins_during_a_rollout_gets_what_is_proven() {
    let mut world = World::running(&["a", "b"]);
    let old = world.wants("a");
    world.retrained('b', 0.1);
    world.fails("a");
    world.observed.edge_nodes.insert(
        "c".to_owned(),
        EdgeNode {
            ready: true,
            since: None,
        },
    );
    world.step();
    assert_eq!(world.wants("c"), old);
}

#[test]
fn routing_edited_during_a_rollout_reaches_waiting_nodes_with_their_own_weights() {
    let mut world = World::running(&["a", "b"]);
    world.retrained('b', 0.1);
    world.patch(&json!({"routing": {"offloadAbove": 2.0}}));
    let plan = world.step();
    let spec = |node: &str| {
        let name = world.wants(node);
        world
            .observed
            .revisions
            .iter()
            .find(|r| Some(r.name_any()) == name)
            .unwrap()
            .spec
            .clone()
    };
    let (a, b) = (spec("a"), spec("b"));
    assert_eq!((a.routing.clone(), &plan.target), (b.routing, &world.wants("a")));
    assert!(a.weights.adaptive.contains('b') && b.weights.adaptive.contains('a'));
    assert_eq!(world.settle().nodes.synced, 2);
}

#[test]
fn paused_leaves_every_node_as_it_is() {
    let mut world = World::running(&["a", "b"]);
    let old = world.wants("a");
    world.patch(&json!({"rollout": {"paused": true}, "routing": {"offloadAbove": 2.0}}));
    let plan = world.retrained('b', 0.1);
    assert_eq!(verdict(&plan, condition::PROGRESSING).reason, "Paused");
    assert_eq!((world.wants("a"), world.wants("b")), (old.clone(), old));
}

#[test]
fn a_pinned_revision_that_is_not_there_moves_nothing() {
    let mut world = World::running(&["a"]);
    let old = world.wants("a");
    world.patch(&json!({"rollout": {"pinnedRevision": "cams-none"}}));
    let plan = world.step();
    assert_eq!(
        verdict(&plan, condition::PROGRESSING).reason,
        "PinnedRevisionMissing"
    );
    assert_eq!(
        (verdict(&plan, condition::READY).status, world.wants("a")),
        (Some(false), old.clone())
    );
    assert_eq!(
        plan.in_cloud.map(|revision| revision.name_any()),
        old,
        "the cloud goes on"
    );
}

#[test]
fn history_keeps_what_is_in_use_and_the_newest_of_the_rest() {
    let mut world = World::running(&["a"]);
    world.patch(&json!({"rollout": {"revisionHistoryLimit": 2}}));
    for step in 1..=8 {
        world.patch(&json!({"routing": {"offloadAbove": f64::from(step)}}));
        world.settle();
    }
    let numbers: Vec<_> = world
        .observed
        .revisions
        .iter()
        .map(|revision| revision.spec.number)
        .collect();
    assert_eq!(
        numbers,
        [1, 7, 8, 9],
        "the first brought the weights, the last is live, two more are kept"
    );
}

#[test]
fn names_of_revisions_are_those_of_their_content() {
    let world = World::running(&["a"]);
    let revision = &world.observed.revisions[0];
    // `sha256sum` of the content as JSON without white space, members by name, says the same.
    assert_eq!(revision.name_any(), "cams-88e32527df");
}
