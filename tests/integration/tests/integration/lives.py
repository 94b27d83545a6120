"""The life of an object of every kind, as a program with the official client sees it. OBJECTS
names the file that has them (kinds.yaml beside this); any surprise ends it with a trace."""

import copy
import os

import yaml
from kubernetes import client, config, dynamic

config.load_kube_config()
api = dynamic.DynamicClient(client.ApiClient())
SPACE = "lives"
# Whose names say something.
NAMED = {"CustomResourceDefinition", "APIService"}
MERGE = "application/merge-patch+json"


def name_of(kind, n):
    return f"192.0.2.{101 + n}" if kind == "IPAddress" else f"life-{n}"


def missing(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except dynamic.exceptions.NotFoundError as error:
        status = error.summary()
        return "not found" in status
    return False


def changed(resource, name, where, edit):
    """Reads, edits and replaces until nobody came between."""
    for _ in range(10):
        there = resource.get(name=name, **where).to_dict()
        edit(there)
        try:
            return resource.replace(body=there, **where)
        except dynamic.exceptions.ConflictError:
            continue
    raise AssertionError(f"{name}: always in conflict")


def annotations(there):
    return there["metadata"].setdefault("annotations", {})


def live(document):
    kind = document["kind"]
    resource = api.resources.get(api_version=document["apiVersion"], kind=kind)
    where = {"namespace": SPACE} if resource.namespaced else {}
    mark = f"life={kind.lower()}"
    selected = {"label_selector": mark}

    def made(n):
        body = copy.deepcopy(document)
        body["metadata"] = {"name": name_of(kind, n), "labels": {"life": kind.lower()}}
        return resource.create(body=body, **where)

    first, name = made(0), name_of(kind, 0)
    assert first.kind == kind and first.metadata.uid, first
    assert resource.get(name=name, **where).metadata.uid == first.metadata.uid
    # Everywhere, by its label.
    listed = resource.get(**selected)
    assert [item.metadata.name for item in listed.items] == [name], listed
    patched = resource.patch(
        name=name, body={"metadata": {"annotations": {"patched": "yes"}}}, content_type=MERGE, **where
    )
    assert patched.metadata.annotations.patched == "yes"
    replaced = changed(resource, name, where, lambda there: annotations(there).update(replaced="yes"))
    assert replaced.metadata.annotations.to_dict()["replaced"] == "yes"
    applied = resource.server_side_apply(
        body={"apiVersion": document["apiVersion"], "kind": kind,
              "metadata": {"name": name, "labels": {"applied": "yes"}}},
        name=name, field_manager="lives", **where,
    )
    assert applied.metadata.labels.to_dict()["applied"] == "yes"
    assert applied.metadata.annotations.to_dict()["patched"] == "yes"
    if "status" in resource.subresources:
        status = resource.subresources["status"]
        assert status.get(name=name, **where).metadata.uid == first.metadata.uid
        generation = resource.get(name=name, **where).metadata.generation
        written = changed(status, name, where, lambda there: None)
        assert written.metadata.generation == generation, written
    second = made(1)
    resource.delete(name=name, **where)
    told = []
    for event in resource.watch(
        resource_version=listed.metadata.resourceVersion, timeout=20, **selected, **where
    ):
        told.append((event["type"], event["object"].metadata.name))
        if told[-1] == ("DELETED", name):
            break
    assert ("MODIFIED", name) in told and ("ADDED", name_of(kind, 1)) in told, told
    assert missing(resource.get, name=name, **where)
    if "deletecollection" in resource.verbs:
        resource.delete(**selected, **where)
    else:
        resource.delete(name=second.metadata.name, **where)
    left = [item for item in resource.get(**selected).items if not item.metadata.deletionTimestamp]
    assert not left, left


with open(os.environ["OBJECTS"], encoding="utf-8") as text:
    # The objects are of another test's namespace.
    for document in yaml.safe_load_all(text.read().replace("every-kind", SPACE)):
        if document["kind"] in NAMED:
            continue
        try:
            live(document)
        except Exception as error:
            raise AssertionError(f"{document['apiVersion']} {document['kind']}") from error
print("done")
