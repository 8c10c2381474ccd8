use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use meanet_crds::GROUP;
use meanet_crds::naming::Component;

use super::metadata;
use crate::deployment::validate::Validated;

/// The identity of a tier's pods. The cloud's has no rights, and its pods mount no token.
pub(super) fn account(spec: &Validated, component: Component) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(spec, component.object_name(&spec.name), Some(component)),
        automount_service_account_token: Some(component == Component::Edge),
        ..ServiceAccount::default()
    }
}

/// Edges read twins and revisions and report in the status of twins; an admission policy narrows that to their own.
pub(super) fn role(spec: &Validated) -> Role {
    let rule = |resources: &[&str], verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![GROUP.to_owned()]),
        resources: Some(resources.iter().map(ToString::to_string).collect()),
        verbs: verbs.iter().map(ToString::to_string).collect(),
        ..PolicyRule::default()
    };
    Role {
        metadata: metadata(
            spec,
            Component::Edge.object_name(&spec.name),
            Some(Component::Edge),
        ),
        rules: Some(vec![
            rule(&["meanetnodes", "meanetrevisions"], &["get", "list", "watch"]),
            rule(&["meanetnodes/status"], &["patch"]),
        ]),
    }
}

pub(super) fn binding(spec: &Validated) -> RoleBinding {
    let name = Component::Edge.object_name(&spec.name);
    RoleBinding {
        metadata: metadata(spec, name.clone(), Some(Component::Edge)),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name,
            namespace: Some(spec.namespace.clone()),
            ..Subject::default()
        }]),
    }
}
