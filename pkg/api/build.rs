//! Packs the descriptions of the API's types and fields, which OpenAPI publishes and `kubectl explain` shows.
//!
//! They are prose and not committed: k8s-openapi, a build dependency here, carries them in its schemas. The
//! packed form is `T type`, `D description of the type` and ` field description` lines, with line ends and
//! backslashes escaped, deflated.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use k8s_openapi::api::*;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

/// Adds the schemas of types and of everything they hold.
macro_rules! add {
    ($schemas:ident: $($ty:ty),+ $(,)?) => { $( add::<$ty>(&mut $schemas); )+ };
}

fn add<T: JsonSchema>(schemas: &mut SchemaGenerator) {
    schemas.subschema_for::<T>();
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let text = describe(schemas().definitions());
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    let path = PathBuf::from(out).join("descriptions.deflate");
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed
        .write_all(text.as_bytes())
        .expect("writing to memory does not fail");
    let packed = packed.finish().expect("writing to memory does not fail");
    std::fs::write(&path, packed).unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
}

/// Every kind that is served, the bodies of subresources and the types of every group.
fn schemas() -> SchemaGenerator {
    let mut s = SchemaGenerator::default();
    add!(s: core::v1::Binding, core::v1::ComponentStatus, core::v1::ConfigMap, core::v1::Endpoints,
        core::v1::Event, core::v1::LimitRange, core::v1::Namespace, core::v1::Node,
        core::v1::PersistentVolume, core::v1::PersistentVolumeClaim, core::v1::Pod, core::v1::PodTemplate,
        core::v1::ReplicationController, core::v1::ResourceQuota, core::v1::Secret,
        core::v1::Service, core::v1::ServiceAccount);
    add!(s: apps::v1::ControllerRevision, apps::v1::DaemonSet, apps::v1::Deployment, apps::v1::ReplicaSet,
        apps::v1::StatefulSet, batch::v1::CronJob, batch::v1::Job, autoscaling::v1::HorizontalPodAutoscaler,
        autoscaling::v1::Scale, autoscaling::v2::HorizontalPodAutoscaler, events::v1::Event,
        policy::v1::Eviction, policy::v1::PodDisruptionBudget, coordination::v1::Lease,
        discovery::v1::EndpointSlice, node::v1::RuntimeClass, scheduling::v1::PriorityClass);
    add!(s: admissionregistration::v1::MutatingAdmissionPolicy,
        admissionregistration::v1::MutatingAdmissionPolicyBinding,
        admissionregistration::v1::MutatingWebhookConfiguration,
        admissionregistration::v1::ValidatingAdmissionPolicy,
        admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        admissionregistration::v1::ValidatingWebhookConfiguration,
        apiextensions::v1::CustomResourceDefinition, apiregistration::v1::APIService);
    add!(s: authentication::v1::SelfSubjectReview, authentication::v1::TokenRequest,
        authentication::v1::TokenReview, authorization::v1::LocalSubjectAccessReview,
        authorization::v1::SelfSubjectAccessReview, authorization::v1::SelfSubjectRulesReview,
        authorization::v1::SubjectAccessReview, certificates::v1::CertificateSigningRequest,
        flowcontrol::v1::FlowSchema, flowcontrol::v1::PriorityLevelConfiguration,
        rbac::v1::ClusterRole, rbac::v1::ClusterRoleBinding, rbac::v1::Role, rbac::v1::RoleBinding);
    add!(s: networking::v1::IPAddress, networking::v1::Ingress, networking::v1::IngressClass,
        networking::v1::NetworkPolicy, networking::v1::ServiceCIDR, resource::v1::DeviceClass,
        resource::v1::ResourceClaim, resource::v1::ResourceClaimTemplate, resource::v1::ResourceSlice,
        storage::v1::CSIDriver, storage::v1::CSINode, storage::v1::CSIStorageCapacity,
        storage::v1::StorageClass, storage::v1::VolumeAttachment, storage::v1::VolumeAttributesClass);
    add!(s: meta::v1::APIGroupList, meta::v1::APIResourceList, meta::v1::APIVersions,
        meta::v1::DeleteOptions, meta::v1::ListMeta, meta::v1::Status);
    s
}

fn describe(definitions: &serde_json::Map<String, Value>) -> String {
    let mut text = String::new();
    for (name, schema) in definitions {
        text.push_str(&format!("T {name}\n"));
        if let Some(description) = schema["description"].as_str() {
            text.push_str(&format!("D {}\n", escape(description)));
        }
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(description) = schema["description"].as_str() {
                text.push_str(&format!(" {field} {}\n", escape(description)));
            }
        }
    }
    text
}

fn escape(description: &str) -> String {
    description.replace('\\', "\\\\").replace('\n', "\\n")
}
