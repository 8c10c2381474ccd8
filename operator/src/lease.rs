//! Leader election: one Lease, taken and renewed with the resource version as precondition, so that of two replicas that
//! write at once one is refused.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use snafu::Snafu;
use tokio::time::Instant;

/// Name of the lease.
pub const LEASE: &str = "meanet-operator";

/// Leadership is gone.
#[derive(Debug, Snafu)]
pub enum Lost {
    /// Another replica may lead.
    #[snafu(display("the lease could not be renewed for {} seconds; another replica may lead now", silence.as_secs()))]
    Silence {
        /// Since the last renewal.
        silence: Duration,
    },
    /// Another replica leads.
    #[snafu(display("{holder} has taken the lease"))]
    Taken {
        /// Name of the other replica; `nobody` where the lease was given away.
        holder: String,
    },
}

/// One replica that leads or wants to.
#[derive(Clone, Debug)]
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
    duration: Duration,
}

/// What a candidate has seen of another's lease: whether it is still renewed is told by its changing, so that clocks need
/// not agree.
struct Sighting {
    version: Option<String>,
    since: Instant,
}

/// What came of a renewal.
enum Renewal {
    Done,
    Conflict,
    Taken(String),
}

impl Candidate {
    /// A candidate for the lease in `namespace`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, identity: String, duration: Duration) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            identity,
            duration,
        }
    }

    fn pause(&self) -> Duration {
        self.duration / 5
    }

    /// Waits until this replica leads.
    pub async fn acquire(&self) {
        let mut sighting = Sighting {
            version: None,
            since: Instant::now(),
        };
        loop {
            match self.attempt(&mut sighting).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "failed to reach for the lease"),
            }
            tokio::time::sleep(self.pause()).await;
        }
    }

    async fn attempt(&self, sighting: &mut Sighting) -> kube::Result<bool> {
        let Some(lease) = self.api.get_opt(LEASE).await? else {
            return self.write(None).await;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        if sighting.version != lease.metadata.resource_version {
            *sighting = Sighting {
                version: lease.metadata.resource_version.clone(),
                since: Instant::now(),
            };
        }
        let theirs =
            Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0));
        let free = match holder {
            None => true,
            Some(holder) => holder == self.identity || sighting.since.elapsed() > theirs,
        };
        if free {
            self.write(Some(lease)).await
        } else {
            Ok(false)
        }
    }

    /// Renews until it has not worked for two thirds of the lease: then another may take over soon. An answer that does not
    /// come counts as a renewal that did not work, however long it is waited for.
    pub async fn hold(&self) -> Lost {
        let patience = self.duration * 2 / 3;
        let mut renewed = Instant::now();
        let mut next = renewed + self.pause();
        loop {
            let end = renewed + patience;
            tokio::time::sleep_until(next.min(end)).await;
            // Others count from the moment of the write, which may come at any time after it was sent.
            let sent = Instant::now();
            next = sent + self.pause();
            match tokio::time::timeout_at(end, self.renew()).await {
                Ok(Ok(Renewal::Done)) => renewed = sent,
                // Somebody wrote in between; who, the next look tells.
                Ok(Ok(Renewal::Conflict)) => next = sent,
                Ok(Ok(Renewal::Taken(holder))) => return Lost::Taken { holder },
                Ok(Err(error)) => tracing::warn!(%error, "failed to renew the lease"),
                Err(_) => {
                    return Lost::Silence {
                        silence: renewed.elapsed(),
                    };
                }
            }
        }
    }

    async fn renew(&self) -> kube::Result<Renewal> {
        // A lease that somebody deleted is made again.
        let lease = self.api.get_opt(LEASE).await?;
        let holder = lease
            .as_ref()
            .map(|lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()));
        match holder {
            Some(holder) if holder.as_ref() != Some(&self.identity) => {
                Ok(Renewal::Taken(holder.unwrap_or_else(|| "nobody".to_owned())))
            }
            _ if self.write(lease).await? => Ok(Renewal::Done),
            _ => Ok(Renewal::Conflict),
        }
    }

    /// Writes ourselves as holder. False: somebody else was faster.
    async fn write(&self, before: Option<Lease>) -> kube::Result<bool> {
        let now = Some(MicroTime(Timestamp::now()));
        let old = before
            .as_ref()
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let ours = old.holder_identity.as_ref() == Some(&self.identity);
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            acquire_time: if ours { old.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(
                old.lease_transitions.unwrap_or(0) + i32::from(!ours && before.is_some()),
            ),
            ..LeaseSpec::default()
        };
        let params = PostParams::default();
        let outcome = if let Some(lease) = before {
            self.api
                .replace(
                    LEASE,
                    &params,
                    &Lease {
                        spec: Some(spec),
                        ..lease
                    },
                )
                .await
        } else {
            let metadata = ObjectMeta {
                name: Some(LEASE.to_owned()),
                ..ObjectMeta::default()
            };
            self.api
                .create(
                    &params,
                    &Lease {
                        metadata,
                        spec: Some(spec),
                    },
                )
                .await
        };
        match outcome {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives the lease back, so that another replica need not wait for it to run out.
    pub async fn release(&self) {
        let outcome = async {
            let lease = self.api.get(LEASE).await?;
            let spec = lease.spec.clone().unwrap_or_default();
            if spec.holder_identity.as_ref() != Some(&self.identity) {
                return Ok(());
            }
            let free = LeaseSpec {
                holder_identity: None,
                lease_duration_seconds: Some(1),
                ..spec
            };
            self.api
                .replace(
                    LEASE,
                    &PostParams::default(),
                    &Lease {
                        spec: Some(free),
                        ..lease
                    },
                )
                .await
                .map(drop)
        };
        match outcome.await {
            Ok(()) => tracing::info!("the lease is given back"),
            Err(error) => tracing::warn!(%error, "failed to give the lease back; it runs out by itself"),
        }
    }
}

#[cfg(test)]
mod tests;
