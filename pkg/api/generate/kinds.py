"""Rows of the kinds table, from discovery documents.

A row: K group version plural kind list-kind singular scope verbs short-names categories storage-hash
followed by its subresources: S name group version kind verbs. '-' stands for an empty column.
Only stable versions (v1, v2) are served.
"""

import json
import re
from pathlib import Path

VERBS = {
    "create": "c", "delete": "d", "deletecollection": "D", "get": "g",
    "list": "l", "patch": "p", "update": "u", "watch": "w",
}


def stable(version):
    return re.fullmatch(r"v\d+", version) is not None


def group_versions(discovery: Path):
    """(group, version) of every stable version in the order discovery gives: groups, then preferred first."""
    yield "", "v1", discovery / "api__v1.json"
    for group in json.loads((discovery / "apis.json").read_text())["groups"]:
        for version in group["versions"]:
            if stable(version["version"]):
                name = f"apis__{group['name']}__{version['version']}.json"
                yield group["name"], version["version"], discovery / name


def letters(verbs):
    return "".join(VERBS[verb] for verb in verbs) or "-"


def body(resource, group, version):
    return resource.get("group", "" if "version" in resource else group), resource.get("version", version)


def rows(discovery: Path, swagger):
    known = set()
    for definition in swagger["definitions"].values():
        for gvk in definition.get("x-kubernetes-group-version-kind", []):
            known.add((gvk["group"], gvk["version"], gvk["kind"]))
    for group, version, path in group_versions(discovery):
        resources = json.loads(path.read_text())["resources"]
        for resource in resources:
            if "/" in resource["name"]:
                continue
            list_kind = resource["kind"] + "List"
            if (group, version, list_kind) not in known:
                list_kind = "-"
            yield " ".join([
                "K", group or "-", version, resource["name"], resource["kind"], list_kind,
                resource["singularName"] or "-", "N" if resource["namespaced"] else "C",
                letters(resource["verbs"]), ",".join(resource.get("shortNames", [])) or "-",
                ",".join(resource.get("categories", [])) or "-", resource.get("storageVersionHash", "-"),
            ])
            for sub in resources:
                if sub["name"].startswith(resource["name"] + "/"):
                    sub_group, sub_version = body(sub, group, version)
                    name = sub["name"].split("/", 1)[1]
                    yield " ".join(["S", name, sub_group or "-", sub_version, sub["kind"], letters(sub["verbs"])])
