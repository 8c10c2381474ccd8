use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn queue(max_batch: usize, room: usize, workers: usize) -> Queue<u32> {
    Queue::new(Settings {
        max_batch,
        max_delay: ms(2),
        room,
        workers,
    })
}

fn item(edge: &str, images: usize, deadline: Option<Instant>, ticket: u32) -> Item<u32> {
    Item {
        edge: edge.to_owned(),
        images,
        deadline,
        ticket,
    }
}

fn tickets(step: Step<u32>) -> Vec<u32> {
    match step {
        Step::Batch(batch) => batch.into_iter().map(|(_, ticket)| ticket).collect(),
        Step::Wait(_) => Vec::new(),
    }
}

/// Teaches the queue that a batch of this size takes so long.
fn teach(queue: &mut Queue<u32>, images: usize, took: Duration, now: Instant) {
    assert!(
        queue
            .admit(item("teacher", images, None, u32::MAX), now)
            .is_empty()
    );
    let (step, _, _) = queue.next(0, now + ms(2), |_| false);
    assert_eq!(tickets(step), [u32::MAX]);
    queue.done(0, now + ms(2) + took);
}

#[test]
fn a_batch_begins_when_it_is_full_or_has_waited() {
    let (mut queue, start) = (queue(2, 100, 1), Instant::now());
    assert!(matches!(queue.next(0, start, |_| false).0, Step::Wait(None)));
    teach(&mut queue, 2, ms(1), start);
    queue.admit(item("a", 1, None, 1), start);
    let Step::Wait(Some(until)) = queue.next(0, start, |_| false).0 else {
        panic!("it waits for others");
    };
    assert_eq!(until, start + ms(2));
    assert_eq!(tickets(queue.next(0, until, |_| false).0), [1]);
    queue.admit(item("a", 1, None, 1), until);
    assert_eq!(
        tickets(queue.next(0, until, |_| false).0),
        [1],
        "the last was alone as well"
    );
    for ticket in 2..5 {
        queue.admit(item("a", 1, None, ticket), until);
    }
    assert_eq!(tickets(queue.next(0, until, |_| false).0), [2, 3], "full");
    queue.admit(item("a", 9, None, 5), until);
    assert_eq!(
        tickets(queue.next(0, until, |_| false).0),
        [4],
        "the large one does not fit"
    );
    assert_eq!(tickets(queue.next(0, until, |_| false).0), [5], "and goes alone");
    assert_eq!(queue.images(), 0);
}

#[test]
fn who_cannot_wait_is_not_kept_waiting() {
    let (mut queue, start) = (queue(8, 100, 1), Instant::now());
    teach(&mut queue, 1, ms(10), start);
    teach(&mut queue, 8, ms(10), start);
    let now = start + ms(20);
    queue.admit(item("a", 1, Some(now + ms(11)), 1), now);
    let Step::Wait(Some(until)) = queue.next(0, now, |_| false).0 else {
        panic!("it waits as long as it can");
    };
    assert_eq!(until, now + ms(1));
}

#[test]
fn who_would_be_late_is_refused_at_once() {
    let (mut queue, start) = (queue(4, 100, 1), Instant::now());
    teach(&mut queue, 4, ms(100), start);
    let now = start + ms(200);
    let late = |queue: &mut Queue<u32>, within: u64, ticket| {
        queue.admit(item("a", 1, Some(now + ms(within)), ticket), now)
    };
    assert_eq!(late(&mut queue, 50, 1), Vec::new(), "an idle cloud tries");
    assert_eq!(late(&mut queue, 50, 2), [(2, Refusal::Late(ms(50)))]);
    assert_eq!(late(&mut queue, 100, 3), Vec::new());
    for ticket in 4..6 {
        assert_eq!(late(&mut queue, 150, ticket), Vec::new());
    }
    // Four wait, a batch; the fifth is of the next one.
    assert_eq!(late(&mut queue, 150, 6), [(6, Refusal::Late(ms(50)))]);
    assert_eq!(late(&mut queue, 250, 7), Vec::new());
    assert_eq!(tickets(queue.next(0, now, |_| false).0), [1, 3, 4, 5]);
    let running = queue.admit(item("a", 1, Some(now + ms(150)), 8), now + ms(40));
    assert_eq!(
        running,
        [(8, Refusal::Late(ms(50 - 40 + 40)))],
        "60 ms are left of the batch, and its own are 100"
    );
    assert_eq!(
        queue.admit(item("a", 1, None, 9), now),
        Vec::new(),
        "who does not say waits"
    );
}

#[test]
fn two_workers_halve_the_wait() {
    let start = Instant::now();
    for (workers, refused) in [(1, true), (2, false)] {
        let mut queue = queue(1, 100, workers);
        teach(&mut queue, 1, ms(100), start);
        let now = start + ms(500);
        queue.admit(item("a", 1, None, 1), now);
        queue.next(0, now + ms(2), |_| false);
        let out = queue.admit(item("a", 1, Some(now + ms(150)), 2), now + ms(2));
        assert_eq!(!out.is_empty(), refused, "{workers} workers");
    }
}

#[test]
fn who_has_left_or_is_too_late_is_not_computed() {
    let (mut queue, start) = (queue(8, 100, 1), Instant::now());
    queue.admit(item("a", 1, None, 1), start);
    queue.admit(item("a", 1, Some(start + ms(1)), 2), start);
    queue.admit(item("b", 1, None, 3), start);
    let (step, late, left) = queue.next(0, start + ms(5), |&ticket| ticket == 1);
    assert_eq!(tickets(step), [3]);
    assert_eq!(late, [(2, Refusal::Late(Duration::ZERO))]);
    assert_eq!((left, queue.images()), (1, 0));
}

#[test]
fn edges_take_turns_by_images() {
    let (mut queue, start) = (queue(4, 100, 1), Instant::now());
    for ticket in 0..8 {
        queue.admit(item("greedy", 1, None, ticket), start);
    }
    queue.admit(item("modest", 1, None, 100), start);
    queue.admit(item("modest", 1, None, 101), start);
    assert_eq!(tickets(queue.next(0, start, |_| false).0), [0, 100, 1, 101]);
    queue.admit(item("large", 3, None, 200), start);
    // Its three images are its share for the next three of the others.
    assert_eq!(tickets(queue.next(0, start, |_| false).0), [200, 2]);
    assert_eq!(tickets(queue.next(0, start, |_| false).0), [3, 4, 5, 6]);
}

#[test]
fn a_full_queue_makes_room_for_edges_that_have_less() {
    let (mut queue, start) = (queue(4, 4, 1), Instant::now());
    for ticket in 0..4 {
        assert_eq!(queue.admit(item("greedy", 1, None, ticket), start), Vec::new());
    }
    let refused = |out: Vec<(u32, Refusal)>| out.into_iter().map(|(ticket, _)| ticket).collect::<Vec<_>>();
    assert_eq!(refused(queue.admit(item("greedy", 1, None, 4), start)), [4]);
    assert_eq!(refused(queue.admit(item("modest", 1, None, 100), start)), [3]);
    assert_eq!(refused(queue.admit(item("modest", 1, None, 101), start)), [2]);
    assert_eq!(
        refused(queue.admit(item("modest", 1, None, 102), start)),
        [102],
        "both have two by then"
    );
    assert_eq!(queue.images(), 4);
    let mut empty = queue;
    let now = start + ms(10);
    empty.next(0, now, |_| false);
    assert!(
        empty.admit(item("large", 9, None, 7), now).is_empty(),
        "alone, it may be larger than the room"
    );
}

#[test]
fn nobody_makes_room_for_a_request_that_does_not_fit_after_all() {
    let (mut queue, now) = (queue(4, 8, 1), Instant::now());
    for ticket in 0..8 {
        assert!(queue.admit(item("busy", 1, None, ticket), now).is_empty());
    }
    // Of the eight, three would make room for three; for five, the longest lane is soon shorter than that.
    let refused = queue.admit(item("new", 5, None, 10), now);
    let refused: Vec<u32> = refused.into_iter().map(|(ticket, _)| ticket).collect();
    assert_eq!(refused, [10]);
    assert_eq!(queue.images(), 8);
    let refused = queue.admit(item("new", 3, None, 11), now);
    let refused: Vec<u32> = refused.into_iter().map(|(ticket, _)| ticket).collect();
    assert_eq!(refused, [7, 6, 5]);
    assert_eq!(queue.images(), 8);
}

#[test]
fn who_is_certain_to_be_refused_is_known_before_its_images_are() {
    let (mut queue, start) = (queue(4, 4, 1), Instant::now());
    teach(&mut queue, 4, ms(100), start);
    let now = start + ms(200);
    assert_eq!(queue.refuses("a", Some(now), now), None, "an idle cloud tries");
    for ticket in 0..4 {
        queue.admit(item("greedy", 1, None, ticket), now);
    }
    let refused = |queue: &Queue<u32>, edge| queue.refuses(edge, None, now);
    assert_eq!(
        refused(&queue, "greedy"),
        Some(Refusal::Full(ms(200))),
        "its fifth image is of the second batch"
    );
    assert_eq!(refused(&queue, "modest"), None, "the greedy edge makes room");
    for ticket in 100..102 {
        queue.admit(item("modest", 1, None, ticket), now);
    }
    assert!(refused(&queue, "modest").is_some(), "both have two by then");
    assert_eq!(refused(&queue, "other"), None);
    let within = |millis| queue.refuses("other", Some(now + ms(millis)), now);
    assert_eq!(within(60), Some(Refusal::Late(ms(40))));
    assert_eq!(within(100), None);
}

#[derive(Clone, Debug)]
enum Act {
    Admit {
        edge: u8,
        images: usize,
        within: Option<u64>,
    },
    Leave(usize),
    Next(usize),
    Done(usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_u8, 1..6_usize, prop::option::of(0..60_u64))
            .prop_map(|(edge, images, within)| Act::Admit { edge, images, within }),
        1 => (0..100_usize).prop_map(Act::Leave),
        3 => (0..2_usize).prop_map(Act::Next),
        2 => (0..2_usize).prop_map(Act::Done),
        2 => (0..20_u64).prop_map(Act::Pass),
    ]
}

proptest! {
    /// Every request comes out exactly once, no batch is too large, none holds who has left or is too late, and nothing
    /// that waits is forgotten.
    #[test]
    fn nothing_is_lost_or_computed_twice(acts in prop::collection::vec(act(), 0..200)) {
        let mut queue = queue(4, 12, 2);
        let mut now = Instant::now();
        // Of each ticket: images, deadline, whether its sender left.
        let mut inside: HashMap<u32, (usize, Option<Instant>, bool)> = HashMap::new();
        let mut number = 0_u32;
        for act in acts {
            match act {
                Act::Admit { edge, images, within } => {
                    number += 1;
                    let deadline = within.map(|within| now + ms(within));
                    inside.insert(number, (images, deadline, false));
                    let early = queue.refuses(&edge.to_string(), deadline, now);
                    for (ticket, _) in queue.admit(item(&edge.to_string(), images, deadline, number), now) {
                        prop_assert!(inside.remove(&ticket).is_some());
                    }
                    prop_assert!(early.is_none() || !inside.contains_key(&number), "it was not certain");
                    // Where time plays no part, all that is certain of one image is known.
                    let timeless = images == 1 && within.is_none();
                    prop_assert!(early.is_some() || !timeless || inside.contains_key(&number));
                }
                Act::Leave(which) => {
                    let mut known: Vec<u32> = inside.keys().copied().collect();
                    known.sort_unstable();
                    if let Some(ticket) = known.get(which % known.len().max(1)) {
                        inside.entry(*ticket).and_modify(|entry| entry.2 = true);
                    }
                }
                Act::Next(worker) => {
                    let (step, late, left) = queue.next(worker, now, |ticket| inside[ticket].2);
                    for (ticket, _) in late {
                        let (_, deadline, gone) = inside.remove(&ticket).unwrap();
                        prop_assert!(deadline.is_some_and(|deadline| deadline <= now) && !gone);
                    }
                    let before = inside.len();
                    inside.retain(|_, (_, _, gone)| !*gone);
                    prop_assert_eq!(before - inside.len(), left);
                    match step {
                        Step::Batch(batch) => {
                            let total: usize = batch.iter().map(|(images, _)| images).sum();
                            prop_assert!(!batch.is_empty() && (total <= 4 || batch.len() == 1));
                            for (images, ticket) in batch {
                                let (known, deadline, _) = inside.remove(&ticket).unwrap();
                                prop_assert_eq!(known, images);
                                prop_assert!(deadline.is_none_or(|deadline| deadline > now));
                            }
                        }
                        Step::Wait(Some(until)) => prop_assert!(until > now && until <= now + ms(2)),
                        Step::Wait(None) => prop_assert!(inside.is_empty()),
                    }
                }
                Act::Done(worker) => queue.done(worker, now),
                Act::Pass(millis) => now += ms(millis),
            }
            let waiting: usize = inside.values().map(|(images, _, _)| images).sum();
            prop_assert_eq!(queue.images(), waiting);
            prop_assert!(waiting <= 12);
        }
    }

    /// Two edges that always have something waiting get the same number of images, within one request of each.
    #[test]
    fn busy_edges_get_equal_shares(sizes in prop::collection::vec((1..5_usize, 1..5_usize), 50)) {
        let mut queue = queue(4, 10_000, 1);
        let now = Instant::now();
        let (mut totals, mut given) = ([0; 2], [0_usize; 2]);
        for (a, b) in sizes {
            for (edge, images) in [(0, a), (1, b)] {
                totals[edge] += images;
                queue.admit(item(&edge.to_string(), images, None, edge as u32), now);
            }
        }
        while given[0] < totals[0] / 2 && given[1] < totals[1] / 2 {
            let Step::Batch(batch) = queue.next(0, now, |_| false).0 else { break };
            for (images, edge) in batch {
                given[edge as usize] += images;
            }
            prop_assert!(given[0].abs_diff(given[1]) <= 4 + 4, "{:?}", given);
        }
    }
}
