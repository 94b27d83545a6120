"""Rows of the types table, from the OpenAPI v2 document and Go's tags.

A type:  T name flags kinds       flags: a atomic, - none; kinds: group/version/Kind,... or * (every group) or -
         ' ' as the row's start is a field of the type above it:
         name type place flags [key=value...]
type:    b bool, i int32, l int64, d double, s string, y bytes, q quantity, x int-or-string, t Time, m MicroTime,
         r RawExtension, j any JSON, f FieldsV1, A/B/C JSONSchemaPropsOr{Array,Bool,StringArray},
         E list of strings that is a message in protobuf, [ list of, { map of, a number: the type of that row
place:   protobuf field numbers, dotted through inlined messages; 0 when not in protobuf
flags:   r required, p pointer in Go, o omitempty, z omitzero, a atomic map, g granular map, - none
keys:    m patch merge key, s patch strategy, l list type (map:keys), d default as JSON, e enum values (last: they may have spaces)
A row U after a type: its unions as JSON.
"""

import json

LEAVES = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "q",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "x",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "t",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "m",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "r",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "f",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "j",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": "A",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": "B",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "C",
}
SCALARS = {
    ("boolean", None): "b", ("integer", "int32"): "i", ("integer", "int64"): "l", ("number", "double"): "d",
    ("string", None): "s", ("string", "byte"): "y",
}
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
ALWAYS = [META + name for name in (
    "APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "DeleteOptions", "PartialObjectMetadata",
    "PartialObjectMetadataList", "Status", "WatchEvent")]


def partial_object_metadata():
    """The two metadata-only types are not in the OpenAPI document."""
    text = {"type": "string"}
    ref = lambda name: {"$ref": "#/definitions/" + META + name}
    kind = lambda name: [{"group": "meta.k8s.io", "version": "v1", "kind": name}]
    return {
        META + "PartialObjectMetadata": {
            "properties": {"apiVersion": text, "kind": text, "metadata": ref("ObjectMeta")},
            "x-kubernetes-group-version-kind": kind("PartialObjectMetadata")},
        META + "PartialObjectMetadataList": {
            "properties": {"apiVersion": text, "kind": text, "metadata": ref("ListMeta"),
                           "items": {"type": "array", "items": ref("PartialObjectMetadata")}},
            "required": ["items"],
            "x-kubernetes-group-version-kind": kind("PartialObjectMetadataList")},
    }


def go_path(name):
    package, struct = name.rsplit(".", 1)
    return "k8s.io/" + package.removeprefix("io.k8s.").replace(".", "/"), struct


class Types:
    def __init__(self, swagger, source):
        self.definitions = {**swagger["definitions"], **partial_object_metadata()}
        self.source = source
        self.numbers = {}
        self.order = []

    def number(self, name):
        if name not in self.numbers:
            self.numbers[name] = len(self.order)
            self.order.append(name)
        return self.numbers[name]

    def letter(self, schema):
        if reference := schema.get("$ref"):
            name = reference.removeprefix("#/definitions/")
            return LEAVES.get(name) or str(self.number(name))
        if schema["type"] == "array":
            return "[" + self.letter(schema["items"])
        if schema["type"] == "object":
            values = schema["additionalProperties"]
            return "{E" if values.get("type") == "array" else "{" + self.letter(values)
        return SCALARS[schema["type"], schema.get("format")]

    def rows(self, roots):
        for root in roots:
            self.number(root)
        at = 0
        while at < len(self.order):
            yield from self.type_rows(self.order[at])
            at += 1

    def type_rows(self, name):
        schema = self.definitions[name]
        kinds = schema.get("x-kubernetes-group-version-kind", [])
        listed = ",".join(f"{k['group']}/{k['version']}/{k['kind']}" for k in kinds) if len(kinds) < 5 else "*"
        flags = "a" if schema.get("x-kubernetes-map-type") == "atomic" else "-"
        yield " ".join(["T", name, flags, listed or "-"])
        if unions := schema.get("x-kubernetes-unions"):
            yield "U " + json.dumps(unions, separators=(",", ":"))
        path, struct = go_path(name)
        package = self.source.package(path)
        fields = {field.name: (field, place) for field, place in self.source.fields(package, struct)}
        required = schema.get("required", [])
        for key, value in sorted(schema.get("properties", {}).items()):
            if key not in fields:
                raise ValueError(f"{name}.{key} is not in Go")
            yield self.field_row(package, key, value, key in required, *fields.pop(key))
        if fields:
            raise ValueError(f"{name}: only in Go: {list(fields)}")

    def field_row(self, package, key, schema, required, field, place):
        flags = "".join(letter for letter, on in (
            ("r", required), ("p", field.pointer), ("o", field.omitempty), ("z", field.omitzero),
            ("a", schema.get("x-kubernetes-map-type") == "atomic"),
            ("g", schema.get("x-kubernetes-map-type") == "granular")) if on)
        row = ["", key, self.letter(schema), ".".join(map(str, place)) or "0", flags or "-"]
        if merge_key := schema.get("x-kubernetes-patch-merge-key"):
            row.append("m=" + merge_key)
        if strategy := schema.get("x-kubernetes-patch-strategy"):
            row.append("s=" + strategy)
        if list_type := schema.get("x-kubernetes-list-type"):
            keys = ",".join(schema.get("x-kubernetes-list-map-keys", []))
            row.append("l=" + list_type + (":" + keys if keys else ""))
        if field.default is not None:
            row.append("d=" + self.source.default(package, field.default))
        if values := self.source.enum(package, field.go_type):
            row.append("e=" + ",".join(values))
        return " ".join(row)


def roots(kinds, definitions):
    """Definitions the served kinds, their lists and the bodies of their subresources are."""
    by_kind = {}
    for name, schema in definitions.items():
        for gvk in schema.get("x-kubernetes-group-version-kind", []):
            by_kind.setdefault((gvk["group"], gvk["version"], gvk["kind"]), name)
    wanted = set(ALWAYS)
    for row in kinds:
        columns = ["" if column == "-" else column for column in row.split(" ")]
        if columns[0] == "K":
            group, version, names = columns[1], columns[2], [columns[4], columns[5]]
        else:
            group, version, names = columns[2], columns[3], [columns[4]]
        wanted |= {by_kind[group, version, kind] for kind in names if (group, version, kind) in by_kind}
    return sorted(wanted)
