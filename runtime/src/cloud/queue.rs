//! What waits for the network, and which of it is computed next: a state machine that is told the time.
//!
//! Edges take turns by images. Who says how long it waits is refused at once where its answer would come too late, and who
//! has left is not computed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::estimate::Estimate;

/// What is fixed when the cloud tier starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Images in a batch at most.
    pub(super) max_batch: usize,
    /// How long the first image of a batch waits for others.
    pub(super) max_delay: Duration,
    /// Images that wait at most.
    pub(super) room: usize,
    /// Threads that compute.
    pub(super) workers: usize,
}

/// One request. `T` is how its sender is answered.
#[derive(Debug)]
pub(super) struct Item<T> {
    /// Who asks.
    pub(super) edge: String,
    pub(super) images: usize,
    /// When an answer is of no use any more.
    pub(super) deadline: Option<Instant>,
    pub(super) ticket: T,
}

/// Why a request is not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room. Some is expected after this long.
    Full(Duration),
    /// Its answer would come this much too late.
    Late(Duration),
}

/// What a worker does.
#[derive(Debug)]
pub(super) enum Step<T> {
    /// Computes these together.
    Batch(Vec<(usize, T)>),
    /// Asks again when something was admitted, or at this time.
    Wait(Option<Instant>),
}

#[derive(Debug)]
struct Waiting<T> {
    images: usize,
    deadline: Option<Instant>,
    since: Instant,
    ticket: T,
}

/// What one edge has waiting.
#[derive(Debug)]
struct Lane<T> {
    edge: String,
    items: VecDeque<Waiting<T>>,
    images: usize,
    /// Images that this edge and those before it were given when its turn comes: the least is next.
    turn: u64,
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    settings: Settings,
    lanes: Vec<Lane<T>>,
    images: usize,
    /// The turn that is being given.
    turn: u64,
    /// Images of the last batch.
    last: usize,
    /// What each worker computes, since when.
    running: Vec<Option<(usize, Instant)>>,
    estimate: Estimate,
}

impl<T> Queue<T> {
    pub(super) fn new(settings: Settings) -> Self {
        let settings = Settings {
            max_batch: settings.max_batch.max(1),
            workers: settings.workers.max(1),
            ..settings
        };
        Self {
            settings,
            lanes: Vec::new(),
            images: 0,
            turn: 0,
            last: 0,
            running: vec![None; settings.workers],
            estimate: Estimate::default(),
        }
    }

    /// Images that wait.
    pub(super) fn images(&self) -> usize {
        self.images
    }

    /// Why any request of this sender would be refused now, however many images it has; nothing where that depends on them.
    pub(super) fn refuses(&self, edge: &str, deadline: Option<Instant>, now: Instant) -> Option<Refusal> {
        if let Some(late) = self.late(deadline, now, || self.soonest(edge, now)) {
            return Some(Refusal::Late(late));
        }
        let full = self.who_yields(edge, 1).is_none();
        full.then(|| Refusal::Full(self.expected(edge, 1, now)))
    }

    /// How much later than `deadline` an answer would come that takes `wait`, if it does.
    fn late(
        &self,
        deadline: Option<Instant>,
        now: Instant,
        wait: impl FnOnce() -> Duration,
    ) -> Option<Duration> {
        let deadline = deadline?;
        // With nothing to do, an estimate is put to the test instead of being believed.
        if self.images == 0 && self.running.iter().all(Option::is_none) {
            return None;
        }
        let late = (now + wait()).saturating_duration_since(deadline);
        (!late.is_zero()).then_some(late)
    }

    /// How many requests each lane gives back, the newest first, for so many more images of this edge: always that which has most,
    /// as long as it has more than the edge would have. Nothing where that does not make room enough.
    fn who_yields(&self, edge: &str, images: usize) -> Option<Vec<usize>> {
        let would_have = self.lane(edge).map_or(0, |lane| lane.images) + images;
        let mut left: Vec<(usize, usize)> = self.lanes.iter().map(|lane| (lane.images, 0)).collect();
        let mut waiting = self.images;
        // Alone, a request may be larger than all room.
        while waiting > 0 && waiting + images > self.settings.room {
            let (at, &(longest, given)) = left.iter().enumerate().max_by_key(|(_, (images, _))| *images)?;
            let newest = self.lanes[at].items.iter().rev().nth(given);
            let newest = newest.filter(|_| longest > would_have)?;
            left[at] = (longest - newest.images, given + 1);
            waiting -= newest.images;
        }
        Some(left.into_iter().map(|(_, given)| given).collect())
    }

    /// Takes a request in, or gives it back with the reason. Where there is no room, an edge that has more waiting than this
    /// one makes some: what it loses is given back, too.
    pub(super) fn admit(&mut self, item: Item<T>, now: Instant) -> Vec<(T, Refusal)> {
        let wait = self.expected(&item.edge, item.images, now);
        if let Some(late) = self.late(item.deadline, now, || wait) {
            return vec![(item.ticket, Refusal::Late(late))];
        }
        let Some(yielding) = self.who_yields(&item.edge, item.images) else {
            return vec![(item.ticket, Refusal::Full(wait))];
        };
        let mut out = Vec::new();
        for (lane, given) in self.lanes.iter_mut().zip(yielding) {
            for last in lane.items.drain(lane.items.len() - given..).rev() {
                lane.images -= last.images;
                self.images -= last.images;
                out.push((last.ticket, Refusal::Full(wait)));
            }
        }
        self.lanes.retain(|lane| !lane.items.is_empty());
        self.images += item.images;
        let waiting = Waiting {
            images: item.images,
            deadline: item.deadline,
            since: now,
            ticket: item.ticket,
        };
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.edge == item.edge) {
            lane.images += item.images;
            lane.items.push_back(waiting);
        } else {
            self.lanes.push(Lane {
                edge: item.edge,
                images: item.images,
                items: VecDeque::from([waiting]),
                turn: self.turn,
            });
        }
        out
    }

    fn lane(&self, edge: &str) -> Option<&Lane<T>> {
        self.lanes.iter().find(|lane| lane.edge == edge)
    }

    /// How long from now until such a request would be answered.
    fn expected(&self, edge: &str, images: usize, now: Instant) -> Duration {
        let total = self.until(edge, images);
        let before = total.saturating_sub(1) / self.settings.max_batch;
        let last = total - before * self.settings.max_batch;
        self.begins(before, now).saturating_add(self.estimate.batch(last))
    }

    /// The least that [`Self::expected`] is for any number of images. More of them may well be quicker, as far as is known: what
    /// is known of batches of another size may be older.
    fn soonest(&self, edge: &str, now: Instant) -> Duration {
        let before = (self.until(edge, 1) - 1) / self.settings.max_batch;
        self.begins(before, now).saturating_add(self.estimate.least())
    }

    /// Images computed until an edge has so many more than it has waiting.
    fn until(&self, edge: &str, images: usize) -> usize {
        let own = self.lane(edge).map_or(0, |lane| lane.images) + images;
        // While its edge has its turns, the others have as many.
        let others = self.lanes.iter().filter(|lane| lane.edge != edge);
        own + others.map(|lane| lane.images.min(own)).sum::<usize>()
    }

    /// How long from now until a batch begins that comes after so many full ones.
    fn begins(&self, before: usize, now: Instant) -> Duration {
        let Settings {
            max_batch, workers, ..
        } = self.settings;
        let left = |(images, since): (usize, Instant)| {
            self.estimate
                .batch(images)
                .saturating_sub(now.saturating_duration_since(since))
        };
        // The first worker that has nothing, or that is done.
        let free = self
            .running
            .iter()
            .map(|running| running.map_or(Duration::ZERO, left))
            .min();
        let rounds = u32::try_from(before.div_ceil(workers)).unwrap_or(u32::MAX);
        free.unwrap_or_default()
            .saturating_add(self.estimate.batch(max_batch).saturating_mul(rounds))
    }

    /// What `worker` does at `now`, and which requests are of no use any more; those whose sender is `gone` are just dropped,
    /// and counted.
    pub(super) fn next(
        &mut self,
        worker: usize,
        now: Instant,
        gone: impl Fn(&T) -> bool,
    ) -> (Step<T>, Vec<(T, Refusal)>, usize) {
        let (late, left) = self.purge(now, gone);
        let Some(start) = self.start(now) else {
            return (Step::Wait(None), late, left);
        };
        if start > now {
            return (Step::Wait(Some(start)), late, left);
        }
        let mut batch = Vec::new();
        let mut images = 0;
        while let Some(lane) = self.lanes.iter_mut().min_by_key(|lane| lane.turn) {
            let Some(next) = lane.items.front() else { break };
            if images > 0 && images + next.images > self.settings.max_batch {
                break;
            }
            if let Some(next) = lane.items.pop_front() {
                self.turn = lane.turn;
                lane.turn += next.images as u64;
                lane.images -= next.images;
                images += next.images;
                batch.push((next.images, next.ticket));
            }
            self.lanes.retain(|lane| !lane.items.is_empty());
        }
        self.images -= images;
        self.last = images;
        if let Some(running) = self.running.get_mut(worker) {
            *running = Some((images, now));
        }
        (Step::Batch(batch), late, left)
    }

    /// When the next batch begins, if anything waits: when it is full or as large as the last one, as more are not expected then, when its
    /// oldest has waited long enough, or when one of it cannot wait longer. So who asks alone waits for nobody.
    fn start(&self, now: Instant) -> Option<Instant> {
        if self.images > 0 && self.images >= self.settings.max_batch.min(self.last) {
            return Some(now);
        }
        let takes = self.estimate.batch(self.images);
        let all = self.lanes.iter().flat_map(|lane| &lane.items);
        all.map(|item| {
            let patient = item.since + self.settings.max_delay;
            let urgent = item
                .deadline
                .map(|deadline| deadline.checked_sub(takes).unwrap_or(item.since));
            urgent.map_or(patient, |urgent| urgent.min(patient))
        })
        .min()
    }

    /// Leaves out those whose time is over and those who have left.
    fn purge(&mut self, now: Instant, gone: impl Fn(&T) -> bool) -> (Vec<(T, Refusal)>, usize) {
        let (mut late, mut left) = (Vec::new(), 0);
        let over = |item: &Waiting<T>| item.deadline.is_some_and(|deadline| deadline <= now);
        for lane in &mut self.lanes {
            if !lane.items.iter().any(|item| gone(&item.ticket) || over(item)) {
                continue;
            }
            for item in std::mem::take(&mut lane.items) {
                let (is_gone, is_over) = (gone(&item.ticket), over(&item));
                if is_gone || is_over {
                    lane.images -= item.images;
                    self.images -= item.images;
                }
                if is_gone {
                    left += 1;
                } else if is_over {
                    late.push((item.ticket, Refusal::Late(Duration::ZERO)));
                } else {
                    lane.items.push_back(item);
                }
            }
        }
        self.lanes.retain(|lane| !lane.items.is_empty());
        (late, left)
    }

    /// `worker` has computed its batch.
    pub(super) fn done(&mut self, worker: usize, now: Instant) {
        if let Some((images, since)) = self.running.get_mut(worker).and_then(Option::take) {
            self.estimate.record(images, now.saturating_duration_since(since));
        }
    }
}

#[cfg(test)]
mod tests;
