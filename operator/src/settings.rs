use std::net::SocketAddr;

use clap::Parser;

use crate::deployment::validate::Images;

/// Runs MEANetDeployments on this cluster.
#[derive(Clone, Debug, Parser)]
#[command(name = "meanet-operator", version, about)]
pub struct Settings {
    /// Image of the runtime, for deployments that name none.
    #[arg(long, env = "MEANET_RUNTIME_IMAGE")]
    pub runtime_image: String,
    /// Image of edges, for deployments that name none. Default: that of the runtime, which can do all that this one can.
    #[arg(long, env = "MEANET_EDGE_IMAGE")]
    pub edge_image: Option<String>,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, env = "MEANET_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Namespace of the lease that names the leader. Default: the pod's own.
    #[arg(long, env = "MEANET_NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of this replica in the lease. Default: the pod's name.
    #[arg(long, env = "MEANET_POD")]
    pub identity: Option<String>,
    /// Deployments reconciled at the same time.
    #[arg(long, env = "MEANET_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Seconds after which another replica may take over from a leader that is not heard of.
    #[arg(long, env = "MEANET_LEASE_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..))]
    pub lease_seconds: u16,
}

impl Settings {
    /// Images for deployments that name none.
    #[must_use]
    pub fn images(&self) -> Images {
        Images {
            runtime: self.runtime_image.clone(),
            edge: self.edge_image.as_ref().unwrap_or(&self.runtime_image).clone(),
        }
    }
}
