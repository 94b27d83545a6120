use super::*;

fn field(ty: &str, name: &str) -> &'static Field {
    let (_, ty) = builtin_types().find(|(_, known)| known.name == ty).unwrap();
    ty.field(name).unwrap()
}

#[test]
fn every_kind_and_body_has_a_type() {
    for kind in crate::kinds::builtin() {
        assert!(kind.schema.is_some(), "{}", kind.group_resource());
        assert_eq!(kind.list_schema.is_some(), !kind.list_kind.is_empty());
    }
}

#[test]
fn container_ports_merge_by_two_keys_on_the_server_and_one_in_patches() {
    let ports = field("io.k8s.api.core.v1.Container", "ports");
    let extra = ports.extra().unwrap();
    assert_eq!(extra.merge_key.as_deref(), Some("containerPort"));
    assert_eq!(
        extra.list_type,
        Some(ListType::Map(vec!["containerPort".into(), "protocol".into()]))
    );
    let protocol = field("io.k8s.api.core.v1.ContainerPort", "protocol");
    assert_eq!(protocol.extra().unwrap().default, Some("TCP".into()));
    assert_eq!(protocol.enum_values(), ["SCTP", "TCP", "UDP"]);
}

#[test]
fn enum_values_may_have_spaces() {
    let usages = field(
        "io.k8s.api.certificates.v1.CertificateSigningRequestSpec",
        "usages",
    );
    let values = &usages.extra().unwrap().enum_values;
    assert_eq!(values.len(), 23);
    assert!(values.iter().any(|value| value == "client auth"));
}

#[test]
fn an_inlined_struct_is_a_message_of_its_own() {
    assert_eq!(field("io.k8s.api.core.v1.Volume", "name").place, [1, 0, 0]);
    assert_eq!(field("io.k8s.api.core.v1.Volume", "emptyDir").place, [2, 2, 0]);
    let scope = field(
        "io.k8s.api.admissionregistration.v1.NamedRuleWithOperations",
        "scope",
    );
    assert_eq!(scope.place, [2, 2, 4]);
}

#[test]
fn fields_are_sorted_so_that_they_are_found() {
    for (_, ty) in builtin_types() {
        assert!(ty.fields.is_sorted_by(|a, b| a.name < b.name), "{}", ty.name);
        assert!(ty.fields.iter().all(|field| ty.field(&field.name).is_some()));
    }
}

#[test]
fn go_omits_what_it_cannot_tell_from_missing() {
    let host_network = field("io.k8s.api.core.v1.PodSpec", "hostNetwork");
    assert!(host_network.omits(&false.into()) && !host_network.omits(&true.into()));
    let replicas = field("io.k8s.api.apps.v1.DeploymentSpec", "replicas");
    assert!(!replicas.omits(&0.into()));
    let status = field("io.k8s.api.core.v1.Pod", "status");
    assert!(status.always_written() && !status.omits(&serde_json::json!({})));
    assert!(field("io.k8s.api.core.v1.Container", "resources").always_written());
    assert!(
        !field(
            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
            "creationTimestamp"
        )
        .always_written()
    );
}

#[test]
fn a_registered_schema_resolves_until_it_is_dropped() {
    let registered = register(|id| {
        let field = Field::new("next", Shape::Object(id(0)), false, Extra::default());
        vec![Type::new("example.Node", vec![field])]
    })
    .unwrap();
    let id = registered.type_id(0);
    let types = Types::of(id);
    assert_eq!(types.get(id).field("next").unwrap().shape, Shape::Object(id));
    drop(registered);
    assert_eq!(types.get(id).name, "example.Node");
    assert!(Types::of(id).get(id).fields.is_empty());
}
