//! Drives observe, validate, plan, build, apply and report, whenever something changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use jiff::{Timestamp, TimestampRound, Unit};
use kube::runtime::applier;
use kube::runtime::controller::{self, Action};
use kube::runtime::events::{Recorder, Reporter as Source};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::WriterDropped;
use kube::{Api, Client, ResourceExt};
use meanet_crds::naming::MANAGER_OPERATOR;
use meanet_crds::{MEANetDeployment, MEANetRevision};
use snafu::{ResultExt, Snafu};
use tokio_util::sync::CancellationToken;

use crate::cache::{Cache, Triggers};
use crate::deployment::apply::{self, Writer, apply};
use crate::deployment::build::build;
use crate::deployment::observe::{belongs, observe, runs_are_current};
use crate::deployment::plan::plan;
use crate::deployment::report::{self, Reporter};
use crate::deployment::validate::{Images, validate};
use crate::metrics::Metrics;

/// First and longest pause after a reconcile that failed.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_mins(1));
/// How long a revision made by us is believed in before a watch has shown it.
const BELIEF: Duration = Duration::from_secs(30);

/// Why a reconcile failed.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The caches were given up.
    #[snafu(display("failed to wait for the caches: {source}"))]
    Caches {
        /// The store whose watch ended.
        source: WriterDropped,
    },
    /// It cannot be told whether a run was answered.
    #[snafu(display(
        "failed to read status.retraining before a run starts: {}",
        apply::said(source)
    ))]
    Runs {
        /// What the API server, or the way to it, said.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// An object could not be written.
    #[snafu(transparent)]
    Apply {
        /// Which, and why.
        source: apply::Error,
    },
    /// The status could not be written.
    #[snafu(transparent)]
    Report {
        /// Why.
        source: report::Error,
    },
}

/// What kind of error it is: decides how long to wait, and how loudly to say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    /// Somebody else was faster; look again at once.
    Conflict,
    /// The API server cannot be reached, or is busy.
    Transient,
    /// The API server will not take it, however often it is asked: only a change helps.
    Permanent,
}

impl Category {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        }
    }
}

impl Error {
    fn category(&self) -> Category {
        let source = match self {
            Self::Apply {
                source: apply::Error::Write { source, .. },
            }
            | Self::Report {
                source: report::Error::Status { source, .. },
            }
            | Self::Runs { source } => source,
            Self::Apply {
                source: apply::Error::Json { .. },
            }
            | Self::Report {
                source: report::Error::Json { .. },
            } => {
                return Category::Permanent;
            }
            Self::Caches { .. } => return Category::Transient,
        };
        match source.as_ref() {
            kube::Error::Api(status) if status.is_conflict() => Category::Conflict,
            kube::Error::Api(status)
                if status.is_forbidden() || status.is_invalid() || status.code == 400 =>
            {
                Category::Permanent
            }
            _ => Category::Transient,
        }
    }
}

/// A revision made by us, and when.
type Written = (Instant, Arc<MEANetRevision>);

/// What all reconciles share.
struct Context {
    client: Client,
    cache: Cache,
    metrics: Metrics,
    reporter: Reporter,
    images: Images,
    written: Mutex<HashMap<ObjectRef<MEANetDeployment>, Vec<Written>>>,
    failures: Mutex<HashMap<ObjectRef<MEANetDeployment>, u32>>,
}

/// Reconciles until `stop`, then lets what has begun come to its end.
pub async fn run(
    client: Client,
    metrics: Metrics,
    images: Images,
    (concurrency, identity): (u16, String),
    (cache, triggers): (Cache, Triggers),
    stop: CancellationToken,
) {
    let source = Source {
        controller: MANAGER_OPERATOR.to_owned(),
        instance: Some(identity),
    };
    let recorder = Recorder::new(client.clone(), source);
    let context = Arc::new(Context {
        reporter: Reporter::new(client.clone(), recorder, metrics.clone()),
        client,
        metrics,
        images,
        written: Mutex::default(),
        failures: Mutex::default(),
        cache: cache.clone(),
    });
    let triggers = triggers.take_until(stop.cancelled_owned());
    // No debounce: a threshold edit is on its way to the nodes at once, and reconciles of one deployment never overlap.
    let config = controller::Config::default().concurrency(concurrency);
    applier(
        |deployment, context| reconcile(deployment, context).boxed(),
        error_policy,
        context,
        cache.deployments,
        triggers,
        config,
    )
    .for_each(|outcome| async move {
        match outcome {
            // Failed reconciles are logged by the error policy; objects that are gone need no reconcile.
            Ok(_) | Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
            Err(error) => tracing::warn!(%error, "a watch failed; it is taken up again"),
        }
    })
    .await;
}

async fn reconcile(deployment: Arc<MEANetDeployment>, context: Arc<Context>) -> Result<Action, Error> {
    context.cache.filled().await.context(CachesSnafu)?;
    let begin = Instant::now();
    let outcome = Box::pin(reconcile_filled(&deployment, &context)).await;
    context.metrics.reconciled(begin.elapsed());
    if outcome.is_ok() {
        locked(&context.failures).remove(&ObjectRef::from_obj(deployment.as_ref()));
    }
    outcome
}

async fn reconcile_filled(deployment: &Arc<MEANetDeployment>, context: &Context) -> Result<Action, Error> {
    if deployment.metadata.deletion_timestamp.is_some() {
        // Owner references take everything down.
        return Ok(Action::await_change());
    }
    let believed = context.believed(deployment);
    let (observed, live) = observe(deployment, &context.cache, &believed);
    // Milliseconds, so that a time written and read is the same.
    let now = Timestamp::now();
    let now = now
        .round(TimestampRound::new().smallest(Unit::Millisecond))
        .unwrap_or(now);
    let spec = match validate(deployment, &context.images) {
        Ok(spec) => spec,
        Err(error) => {
            context.reporter.invalid(deployment, &error, now).await?;
            return Ok(Action::await_change());
        }
    };
    let plan = plan(&observed, &spec, now);
    if let Some((start, _)) = &plan.train
        && !live.jobs.contains_key(&start.job)
    {
        let api = Api::namespaced(context.client.clone(), &spec.namespace);
        if !runs_are_current(&api, deployment).await.context(RunsSnafu)? {
            // What the cache lacks is on its way, and brings us back.
            return Ok(Action::await_change());
        }
    }
    let children = build(&spec, &plan);
    let writer = Writer::new(context.client.clone(), &spec, context.metrics.clone());
    let (written, applied) = Box::pin(apply(&writer, &plan, children, &live)).await;
    context.believe(deployment, written);
    // What never shows, since somebody deleted it at once, wakes nobody when it is no longer believed in.
    let doubt = (!believed.is_empty()).then_some(BELIEF);
    let look_again = plan.look_again.into_iter().chain(doubt).min();
    context
        .reporter
        .planned(deployment, plan, applied.as_ref().copied(), now)
        .await?;
    applied?;
    Ok(look_again.map_or_else(Action::await_change, Action::requeue))
}

impl Context {
    /// Revisions made a moment ago, which the cache may not show yet.
    fn believed(&self, deployment: &MEANetDeployment) -> Vec<Arc<MEANetRevision>> {
        let key = ObjectRef::from_obj(deployment);
        let mut written = locked(&self.written);
        let Some(revisions) = written.get_mut(&key) else {
            return Vec::new();
        };
        // Those of a deployment of the same name that was deleted went with it.
        revisions.retain(|(since, revision)| {
            since.elapsed() < BELIEF
                && belongs(revision.as_ref(), deployment)
                && self
                    .cache
                    .revisions
                    .get(&ObjectRef::from_obj(revision.as_ref()))
                    .is_none()
        });
        let believed = revisions.iter().map(|(_, revision)| revision.clone()).collect();
        if revisions.is_empty() {
            written.remove(&key);
        }
        believed
    }

    fn believe(&self, deployment: &MEANetDeployment, revisions: Vec<Arc<MEANetRevision>>) {
        if revisions.is_empty() {
            return;
        }
        let now = Instant::now();
        let key = ObjectRef::from_obj(deployment);
        locked(&self.written)
            .entry(key)
            .or_default()
            .extend(revisions.into_iter().map(|revision| (now, revision)));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn error_policy(deployment: Arc<MEANetDeployment>, error: &Error, context: Arc<Context>) -> Action {
    let category = error.category();
    context.metrics.failed(category.as_str());
    let (name, namespace) = (deployment.name_any(), deployment.namespace().unwrap_or_default());
    let attempts = {
        let mut failures = locked(&context.failures);
        let attempts = failures
            .entry(ObjectRef::from_obj(deployment.as_ref()))
            .or_default();
        *attempts = attempts.saturating_add(1);
        *attempts
    };
    let pause = match category {
        Category::Conflict => BACKOFF.0,
        Category::Transient => BACKOFF
            .0
            .saturating_mul(2_u32.saturating_pow(attempts - 1))
            .min(BACKOFF.1),
        Category::Permanent => BACKOFF.1,
    };
    match category {
        Category::Conflict => {
            tracing::debug!(%error, namespace, name, ?pause, "a reconcile met another writer");
        }
        Category::Transient => {
            tracing::warn!(%error, namespace, name, ?pause, "a reconcile failed and is tried again");
        }
        Category::Permanent => tracing::error!(%error, namespace, name, ?pause, "a reconcile failed"),
    }
    Action::requeue(pause)
}

/// A lock whose holder panicked still guards nothing but caches.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
