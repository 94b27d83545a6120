"""Facts about Go structs: JSON presence, protobuf places, defaults and enums.

Only tags, types and `+markers` are read; no code and no prose is taken over.
"""

import json
import re
from pathlib import Path

FIELD = re.compile(r"^\s*(?:(\w+)\s+)?(\*?[\w.\[\]\*]+)\s+`([^`]*)`")
CONSTANT = re.compile(r'^\s*\w+\s+(\w+)\s*=\s*"([^"]*)"')
IMPORT = re.compile(r'^\s*(?:(\w+)\s+)?"([\w./-]+)"\s*$')


class Field:
    """One field of a Go struct as JSON and protobuf see it."""

    def __init__(self, name, go_type, options, number, default):
        self.name = name
        self.go_type = go_type
        self.pointer = go_type.startswith("*")
        self.omitempty = "omitempty" in options
        self.omitzero = "omitzero" in options
        self.number = number
        self.default = default


class Package:
    """Structs, enums and imports of one Go package."""

    def __init__(self, root: Path, path: str):
        self.path = path
        self.structs = {}
        self.enums = {}
        self.constants = {}
        self.aliases = {}
        self.imports = {}
        for file in sorted((root / path).glob("*.go")):
            if not re.search(r"(generated|_test)", file.name):
                self.read(file.read_text().splitlines())

    def read(self, lines):
        comments, struct, typed = [], None, None
        for line in lines:
            text = line.strip()
            if struct is not None:
                if text == "}" and not line.startswith("\t"):
                    struct = None
                elif text.startswith("//"):
                    comments.append(text[2:].strip())
                elif not text:
                    comments = []
                else:
                    self.field(struct, line, comments)
                    comments = []
                continue
            if text.startswith("//"):
                comments.append(text[2:].strip())
                continue
            if match := re.match(r"type (\w+) struct \{(\})?", text):
                fields = self.structs.setdefault(match[1], [])
                struct = None if match[2] else fields
            elif match := re.match(r"(?:type )?(\w+) (?:= )?([\w.\[\]\*]+)$", text):
                if text.startswith("type "):
                    self.aliases[match[1]] = match[2]
                    if "+enum" in comments:
                        self.enums.setdefault(match[1], [])
            if match := IMPORT.match(line):
                self.imports[match[1] or match[2].rsplit("/", 1)[-1]] = match[2]
            if match := CONSTANT.match(text.removeprefix("const ")):
                self.constants.setdefault(match[1], []).append(match[2])
                typed = match[1]
            if text.startswith("const ("):
                typed = None
            comments = []

    def field(self, fields, line, comments):
        match = FIELD.match(line)
        if not match:
            return
        go_name, go_type, tags = match[1], match[2], match[3]
        tag = re.search(r'json:"([^"]*)"', tags)
        if not tag:
            return
        name, *options = tag[1].split(",")
        number = re.search(r'protobuf:"\w+,(\d+)', tags)
        default = None
        for comment in comments:
            if comment.startswith("+default="):
                default = comment.removeprefix("+default=")
        if not name:
            name = None
        fields.append(Field(name, go_type, options, int(number[1]) if number else 0, default))


class Source:
    """Every Go package below `root`, read when first asked for."""

    def __init__(self, root: Path):
        self.root = root
        self.packages = {}

    def package(self, path):
        if path not in self.packages:
            self.packages[path] = Package(self.root, path)
        return self.packages[path]

    def resolve(self, package, go_type):
        """(package, name) a Go type expression names, without pointers and slices."""
        base = re.sub(r"^(\*|\[\]|map\[[\w.]+\])+", "", go_type)
        if "." in base:
            alias, name = base.split(".")
            path = package.imports.get(alias)
            return (self.package(path), name) if path else (None, name)
        return package, base

    def fields(self, package, struct, place=()):
        """(field, protobuf place) of a struct, inlined structs resolved, in order of declaration.

        The place is the path of field numbers: an inlined struct is a message of its own in protobuf.
        """
        for field in package.structs.get(struct, []):
            if field.name is None:
                inner, name = self.resolve(package, field.go_type)
                inner_place = place + (field.number,) if field.number else None
                if inner:
                    for found, path in self.fields(inner, name, inner_place or ()):
                        yield found, path if inner_place else ()
            elif field.name != "-":
                yield field, place + (field.number,) if field.number else ()

    def enum(self, package, go_type):
        """Values of the `+enum` type a field has, sorted; None for other types."""
        owner, name = self.resolve(package, go_type)
        if owner is None or name not in owner.enums:
            return None
        return sorted(set(owner.constants.get(name, [])))

    def default(self, package, text):
        """JSON of a `+default=` marker; `ref(Constant)` is looked up."""
        if match := re.match(r"ref\((?:([\w./-]+)\.)?(\w+)\)", text):
            owner = self.package(match[1]) if match[1] else package
            for file in sorted((self.root / owner.path).glob("*.go")):
                if value := re.search(rf'\b{match[2]}\s+\w*\s*=\s*"([^"]*)"', file.read_text()):
                    return json.dumps(value[1])
            raise ValueError(f"no constant {text}")
        return json.dumps(json.loads(text), separators=(",", ":"))
