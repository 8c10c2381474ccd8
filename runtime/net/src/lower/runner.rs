use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;

use meanet_engine::{EngineError, Graph, Options, Plan, Ranges, Session};
use snafu::ResultExt;
use tracing::warn;

use crate::lower::check::{Expectation, PROBES};
use crate::lower::{CompileSnafu, PlanError};

/// What a network may use when it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compute {
    /// Threads that compute one batch together.
    pub threads: NonZeroUsize,
    /// Images that are computed together; more are taken one batch after the other.
    pub max_batch: NonZeroUsize,
}

impl Default for Compute {
    /// All processors, and 32 images.
    fn default() -> Self {
        Self {
            threads: available_parallelism().unwrap_or(NonZeroUsize::MIN),
            max_batch: NonZeroUsize::MIN.saturating_add(31),
        }
    }
}

impl Compute {
    /// What each of `workers` that compute at the same time may use, so that together they keep all processors busy and no more.
    #[must_use]
    pub fn one_of(workers: usize) -> Self {
        let all = Self::default();
        let threads = all.threads.get() / workers.max(1);
        Self {
            threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
            ..all
        }
    }

    /// The same with batches of `images`; at least one.
    #[must_use]
    pub fn with_batches_of(self, images: usize) -> Self {
        Self {
            max_batch: NonZeroUsize::new(images).unwrap_or(NonZeroUsize::MIN),
            ..self
        }
    }
}

/// A plan, and as many sessions as have ever run it at the same time.
pub(crate) struct Runner {
    plan: Plan,
    idle: Mutex<Vec<Session>>,
    max_batch: usize,
}

impl Runner {
    /// Compiles `graph` and checks that it computes what is expected.
    pub(crate) fn new(
        graph: &Graph,
        compute: Compute,
        expectations: &[Expectation],
    ) -> Result<Self, PlanError> {
        let quick = Self::compile(graph, compute, true)?;
        match quick.meets(expectations) {
            // Winograd's sums round more than plain ones do, which a network of very unequal weights may not bear.
            Err(PlanError::Differs {
                block, difference, ..
            }) => {
                warn!(block, difference, "the plan does without Winograd's convolution");
                let plain = Self::compile(graph, compute, false)?;
                plain.meets(expectations).map(|()| plain)
            }
            result => result.map(|()| quick),
        }
    }

    /// Compiles `graph` in 8 bits by `ranges` and checks that it computes about what is expected.
    pub(crate) fn int8(
        graph: &Graph,
        ranges: &Ranges,
        compute: Compute,
        expectations: &[Expectation],
    ) -> Result<Self, PlanError> {
        let plan = Plan::compile_int8(graph, ranges, &options(compute, true)).context(CompileSnafu)?;
        let runner = Self::of(plan, compute)?;
        runner
            .run(|session| Ok(expectations.iter().try_for_each(|e| e.check_int8(session))))
            .context(CompileSnafu)??;
        Ok(runner)
    }

    fn compile(graph: &Graph, compute: Compute, winograd: bool) -> Result<Self, PlanError> {
        let plan = Plan::compile(graph, &options(compute, winograd)).context(CompileSnafu)?;
        Self::of(plan, compute)
    }

    fn of(plan: Plan, compute: Compute) -> Result<Self, PlanError> {
        let session = plan.session().context(CompileSnafu)?;
        Ok(Self {
            plan,
            idle: Mutex::new(vec![session]),
            max_batch: compute.max_batch.get(),
        })
    }

    fn meets(&self, expectations: &[Expectation]) -> Result<(), PlanError> {
        self.run(|session| Ok(expectations.iter().try_for_each(|e| e.check(session))))
            .context(CompileSnafu)?
    }

    /// Images that fit into one batch.
    pub(crate) fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// Lends a session that nobody else has meanwhile.
    pub(crate) fn run<T>(
        &self,
        job: impl FnOnce(&mut Session) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let free = idle().pop();
        let mut session = match free {
            Some(session) => session,
            None => self.plan.session()?,
        };
        let result = job(&mut session);
        // A session whose thread panicked is of no more use.
        if !matches!(result, Err(EngineError::Panicked)) {
            idle().push(session);
        }
        result
    }
}

/// Plans take the probes at once, whatever the batches asked for.
fn options(compute: Compute, winograd: bool) -> Options {
    Options {
        threads: compute.threads,
        max_batch: compute.max_batch.get().max(PROBES),
        winograd,
        ..Options::default()
    }
}
