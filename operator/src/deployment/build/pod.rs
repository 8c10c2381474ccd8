use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, HTTPGetAction, PersistentVolumeClaimVolumeSource,
    PodSecurityContext, Probe, SeccompProfile, SecurityContext, Service, ServicePort, ServiceSpec, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use meanet_crds::naming::{Component, PORT_HTTP, PORT_SERVICE};

use super::{metadata, selector};
use crate::deployment::validate::Validated;

/// Where pods of the cloud find the store.
pub(super) const STORE: &str = "/store";
/// User and group of everything that runs: nobody on any system.
const NOBODY: i64 = 65532;
const PORT: &str = "http";

/// Pod Security `restricted`. Volumes are given to the group of the runtime.
pub(super) fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(NOBODY),
        run_as_group: Some(NOBODY),
        fs_group: Some(NOBODY),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// A container of the runtime, without resources.
pub(super) fn container(spec: &Validated, name: Component, args: Vec<String>) -> Container {
    let image = match name {
        Component::Edge => &spec.images.edge,
        Component::Cloud | Component::Import | Component::Train => &spec.images.runtime,
    };
    Container {
        name: name.as_str().to_owned(),
        image: Some(image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(args),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// Adds the port and the probes of a runtime that serves.
pub(super) fn serving(mut container: Container) -> Container {
    let probe = |path: &str, period: i32, failures: i32| Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    };
    container.ports = Some(vec![ContainerPort {
        name: Some(PORT.to_owned()),
        container_port: PORT_HTTP,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }]);
    // The last words of one that ends again and again reach the condition, and with it the one who looks.
    container.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
    // Loading weights delays readiness; only a runtime that does not answer at all for half a minute is restarted.
    container.readiness_probe = Some(probe("/v2/health/ready", 2, 3));
    container.liveness_probe = Some(probe("/v2/health/live", 10, 3));
    container
}

/// The claim of the store, and where it is mounted.
pub(super) fn store(spec: &Validated) -> (Volume, VolumeMount) {
    let name = "store".to_owned();
    let claim = PersistentVolumeClaimVolumeSource {
        claim_name: spec.claim.clone(),
        read_only: None,
    };
    (
        Volume {
            name: name.clone(),
            persistent_volume_claim: Some(claim),
            ..Volume::default()
        },
        VolumeMount {
            name,
            mount_path: STORE.to_owned(),
            ..VolumeMount::default()
        },
    )
}

/// The Service in front of a tier.
pub(super) fn service(spec: &Validated, component: Component, internal_traffic_policy: &str) -> Service {
    Service {
        metadata: metadata(spec, component.object_name(&spec.name), Some(component)),
        spec: Some(ServiceSpec {
            selector: Some(selector(spec, component)),
            ports: Some(vec![ServicePort {
                name: Some(PORT.to_owned()),
                port: PORT_SERVICE,
                target_port: Some(IntOrString::String(PORT.to_owned())),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            internal_traffic_policy: Some(internal_traffic_policy.to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
