"""What a program does with the official client; any surprise ends it with a trace."""

from kubernetes import client, config, dynamic, watch

config.load_kube_config()
core, apps = client.CoreV1Api(), client.AppsV1Api()
space = "python"


def a_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"made": "here"}), data=data)


made = core.create_namespaced_config_map(space, a_map("a", k="v"))
assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo
try:
    core.create_namespaced_config_map(space, a_map("a"))
    raise AssertionError("created twice")
except client.ApiException as error:
    assert error.status == 409 and error.reason == "Conflict", error

listed = core.list_namespaced_config_map(space, label_selector="made=here")
assert [item.metadata.name for item in listed.items] == ["a"]

core.patch_namespaced_config_map("a", space, {"data": {"k": "w"}})
made.data["k"] = "x"
try:
    core.replace_namespaced_config_map("a", space, made)
    raise AssertionError("replaced an old version")
except client.ApiException as error:
    assert error.status == 409, error

core.delete_namespaced_config_map("a", space)
seen = []
stream = watch.Watch()
for event in stream.stream(
    core.list_namespaced_config_map,
    space,
    label_selector="made=here",
    resource_version=listed.metadata.resource_version,
    timeout_seconds=20,
):
    seen.append((event["type"], (event["object"].data or {}).get("k")))
    if event["type"] == "DELETED":
        stream.stop()
assert seen == [("MODIFIED", "w"), ("DELETED", "w")], seen

pod = client.V1PodSpec(containers=[client.V1Container(name="c", image="nginx")])
template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels={"app": "web"}), spec=pod)
spec = client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels={"app": "web"}), template=template)
apps.create_namespaced_deployment(space, client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec))
apps.patch_namespaced_deployment_scale("web", space, {"spec": {"replicas": 3}})
assert apps.read_namespaced_deployment_scale("web", space).spec.replicas == 3
for event in watch.Watch().stream(core.list_namespaced_pod, space, label_selector="app=web", timeout_seconds=20):
    if len(core.list_namespaced_pod(space, label_selector="app=web").items) == 3:
        break
else:
    raise AssertionError("no three pods")

anything = dynamic.DynamicClient(client.ApiClient())
deployments = anything.resources.get(api_version="apps/v1", kind="Deployment")
applied = deployments.server_side_apply(
    body={"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"l": "1"}}},
    name="web",
    namespace=space,
    field_manager="python",
)
assert applied.metadata.labels.l == "1"
assert client.VersionApi().get_code().minor == "36"
print("done")
