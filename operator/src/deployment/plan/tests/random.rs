use proptest::prelude::*;

use super::*;

const NODES: [&str; 4] = ["a", "b", "c", "d"];

/// Something that may happen.
#[derive(Clone, Debug)]
enum Happening {
    Step,
    StaleStep(usize),
    Live(usize),
    Fails(usize),
    Reachable(usize, bool),
    Join(usize),
    Leave(usize),
    Route(u8),
    Pause(bool),
    Pin(usize),
    Unpin,
    Ask(u8),
    TrainingEnds(u8, bool),
    Model(bool),
    ImportEnds(bool),
    InFlight(i32),
    Time(i64),
    StatusLost,
    Cloud(i32),
    TwinDeleted(usize),
    JobsDeleted,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let node = 0..NODES.len();
    prop_oneof![
        4 => Just(Step),
        2 => (1_usize..6).prop_map(StaleStep),
        4 => node.clone().prop_map(Live),
        1 => node.clone().prop_map(Fails),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, ready)| Reachable(node, ready)),
        1 => node.clone().prop_map(Join),
        1 => node.clone().prop_map(Leave),
        2 => (0_u8..5).prop_map(Route),
        1 => any::<bool>().prop_map(Pause),
        1 => (0_usize..20).prop_map(Pin),
        1 => Just(Unpin),
        2 => (0_u8..5).prop_map(Ask),
        2 => ((0_u8..6), any::<bool>()).prop_map(|(digit, well)| TrainingEnds(digit, well)),
        1 => any::<bool>().prop_map(Model),
        2 => any::<bool>().prop_map(ImportEnds),
        1 => (1..4).prop_map(InFlight),
        1 => (0_i64..200).prop_map(Time),
        1 => Just(StatusLost),
        1 => (0..2).prop_map(Cloud),
        1 => node.prop_map(TwinDeleted),
        1 => Just(JobsDeleted),
    ]
}

fn happen(world: &mut World, happening: &Happening, past: &[Observed]) {
    match happening {
        Happening::Step => drop(world.step()),
        Happening::StaleStep(ago) => {
            if let Some(seen) = past.len().checked_sub(*ago).and_then(|index| past.get(index)) {
                world.stale_step(seen);
            }
        }
        Happening::Live(node) => world.live(NODES[*node]),
        Happening::Fails(node) => world.fails(NODES[*node]),
        Happening::Reachable(node, ready) => world.reachable(NODES[*node], *ready),
        Happening::Join(node) => {
            let since = Some(world.now);
            world
                .observed
                .edge_nodes
                .entry(NODES[*node].to_owned())
                .or_insert(EdgeNode { ready: true, since });
        }
        Happening::Leave(node) => drop(world.observed.edge_nodes.remove(NODES[*node])),
        Happening::Route(above) => world.patch(&json!({"routing": {"offloadAbove": f64::from(*above)}})),
        Happening::Pause(paused) => world.patch(&json!({"rollout": {"paused": paused}})),
        Happening::Pin(index) => {
            let name = world
                .observed
                .revisions
                .get(*index)
                .map_or("cams-none".to_owned(), |r| r.name_any());
            world.patch(&json!({"rollout": {"pinnedRevision": name}}));
        }
        Happening::Unpin => world.patch(&json!({"rollout": {"pinnedRevision": null}})),
        Happening::Ask(request) => world.ask(&request.to_string()),
        Happening::TrainingEnds(digit, well) => {
            let digit = char::from(b'a' + digit);
            world.ends(
                Component::Train,
                if *well {
                    success(digit, Some(0.1))
                } else {
                    failure(world.now)
                },
            );
        }
        Happening::Model(other) => {
            let digit = if *other { "9" } else { "0" };
            world.patch(&json!({"model": {"weights": {"digest": format!("sha256:{}", digit.repeat(64))}}}));
        }
        Happening::ImportEnds(well) => {
            world.ends(
                Component::Import,
                if *well {
                    success('a', None)
                } else {
                    failure(world.now)
                },
            );
        }
        Happening::InFlight(most) => world.patch(&json!({"rollout": {"maxInFlight": most}})),
        Happening::Time(seconds) => world.pass(*seconds),
        Happening::StatusLost => world.edit(|deployment| deployment.status = None),
        Happening::Cloud(available) => {
            let since = Some(world.now);
            world.observed.cloud = Some(CloudSeen {
                wanted: 1,
                available: *available,
                since,
                updated: true,
            });
        }
        Happening::TwinDeleted(node) => drop(world.observed.twins.remove(NODES[*node])),
        Happening::JobsDeleted => world.observed.jobs.clear(),
    }
}

fn failure(at: Timestamp) -> Outcome {
    Outcome::Failed {
        at,
        ran: Duration::from_secs(1),
        message: "no".to_owned(),
    }
}

/// What holds after every plan.
fn check(world: &World, plan: &Plan) {
    let known = |name: &String| {
        world
            .observed
            .revisions
            .iter()
            .chain(&plan.drafts)
            .any(|revision| revision.name_any() == *name)
    };
    assert_eq!(plan.twins.len(), world.observed.edge_nodes.len());
    for (node, twin) in &plan.twins {
        if let Some(revision) = &twin.revision {
            assert!(!plan.prune.contains(revision), "a wanted revision is pruned");
            // An operator that saw the past may have pruned what a node was just told; it keeps that until its turn comes.
            let kept = world
                .observed
                .twins
                .get(node)
                .is_some_and(|seen| seen.wanted == twin.revision);
            assert!(
                known(revision) || kept,
                "a twin wants {revision}, which is not there"
            );
        }
    }
    for twin in world.observed.twins.values() {
        assert!(
            twin.live.as_ref().is_none_or(|live| !plan.prune.contains(live)),
            "a live revision is pruned"
        );
    }
    let mut numbers: Vec<_> = world
        .observed
        .revisions
        .iter()
        .chain(&plan.drafts)
        .map(|revision| revision.spec.number)
        .collect();
    let all = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), all, "a number is used twice");
    let sum = &plan.nodes;
    assert_eq!(sum.synced + sum.pending + sum.offline + sum.failed, sum.selected);
    assert!(sum.pending >= 0);
    moves_within_bounds(world, plan);
}

/// No more nodes that serve are sent to other weights than may load at a time.
fn moves_within_bounds(world: &World, plan: &Plan) {
    let find = |name: Option<&String>| {
        world
            .observed
            .revisions
            .iter()
            .chain(&plan.drafts)
            .find(|revision| Some(&revision.name_any()) == name)
            .cloned()
    };
    let moved = plan.twins.iter().filter(|(node, wish)| {
        let Some(seen) = world.observed.twins.get(*node) else {
            return false;
        };
        let (before, after) = (find(seen.wanted.as_ref()), find(wish.revision.as_ref()));
        let live = find(seen.live.as_ref());
        let differs = |old: &Option<Arc<MEANetRevision>>| match (old, &after) {
            (Some(old), Some(after)) => !history::same_weights(old, after),
            _ => false,
        };
        differs(&before) && differs(&live)
    });
    let most = usize::try_from(world.observed.deployment.spec.rollout.max_in_flight).unwrap();
    assert!(moved.count() <= most, "too many nodes load at a time");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens, in whatever order, and with an operator that acts only now and then, and on what it saw a while ago:
    /// once the causes are mended, every node comes to the target, and then nothing is left to do.
    #[test]
    fn everything_heals(happenings in prop::collection::vec(happening(), 0..60)) {
        let mut world = World::new(&NODES[..2]);
        let mut past = Vec::new();
        for happening in &happenings {
            past.push(world.observed.clone());
            happen(&mut world, happening, &past);
            check(&world, &world.plan());
        }
        world.patch(&json!({"rollout": {"paused": false, "pinnedRevision": null}}));
        happen(&mut world, &Happening::Cloud(1), &[]);
        for node in NODES {
            happen(&mut world, &Happening::Join(NODES.iter().position(|n| *n == node).unwrap()), &[]);
            world.reachable(node, true);
        }
        for _ in 0..6 {
            world.pass(1000);
            check(&world, &world.plan());
            world.step();
            world.ends(Component::Import, success('a', None));
            world.ends(Component::Train, success('b', Some(0.1)));
        }
        let plan = world.settle();
        prop_assert_eq!(plan.nodes.synced, 4, "{:?}", plan.verdicts);
        prop_assert_eq!(&plan.current, &plan.target);
        prop_assert!(plan.drafts.is_empty() && plan.delete_jobs.is_empty() && plan.prune.is_empty());
        let again = world.step();
        prop_assert_eq!(plan.twins, again.twins);
    }
}
