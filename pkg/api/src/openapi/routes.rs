//! The paths and operations of a group version, from the kinds' rows; what v2 and v3 both publish.

use super::params::{
    DELETE, FORCE, LIST, LOG, NAME, NAMESPACE, PATH, PORTS, PRETTY, Param, STREAM, WATCH, WRITE,
};
use crate::kinds::{Kind, Subresource, api_version, builtin};
use crate::schema::{TypeId, Types, find_type};

/// What an operation's request carries.
#[derive(Clone, PartialEq)]
pub(super) enum Body {
    /// An object of this type.
    Object(String),
    /// Options of a delete, which may be left out.
    DeleteOptions,
    /// A patch.
    Patch,
}

/// A method of a path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) description: String,
    pub(super) action: &'static str,
    /// Group, version and kind.
    pub(super) kind: [String; 3],
    pub(super) params: Vec<&'static Param>,
    pub(super) body: Option<Body>,
    pub(super) codes: &'static [&'static str],
    /// Type of the answer; `None` for plain text.
    pub(super) answer: Option<String>,
    /// Whether the answer may be a watch.
    pub(super) watch: bool,
}

/// A path with its operations.
pub(super) struct Route {
    pub(super) path: String,
    pub(super) params: Vec<&'static Param>,
    pub(super) operations: Vec<Operation>,
}

/// Name of the tag, and the part of operation ids, that stand for a group version: `apps_v1`, `AppsV1`.
pub(super) fn tags(group: &str, version: &str) -> (String, String) {
    let group = if group.is_empty() {
        "core"
    } else {
        group.strip_suffix(".k8s.io").unwrap_or(group)
    };
    let mut parts = group.split('.');
    let mut tag = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| tag.push_str(&capital(part)));
    let id = capital(&tag) + &capital(version);
    (format!("{tag}_{version}"), id)
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_ascii_uppercase().to_string() + chars.as_str())
        .unwrap_or_default()
}

/// Every path of a group version.
pub(super) fn routes(group: &str, version: &str) -> Vec<Route> {
    let prefix = if group.is_empty() { "/api" } else { "/apis" };
    let base = format!("{prefix}/{}", api_version(group, version));
    let (_, id) = tags(group, version);
    let types = Types::builtin();
    let mut routes = Vec::new();
    for kind in builtin()
        .iter()
        .filter(|kind| &*kind.group == group && &*kind.version == version)
    {
        Rows {
            kind,
            base: &base,
            id: &id,
            types: &types,
        }
        .routes(&mut routes);
    }
    routes.sort_by(|a, b| a.path.cmp(&b.path));
    routes
}

/// Makes the paths of one kind.
struct Rows<'r> {
    kind: &'r Kind,
    base: &'r str,
    id: &'r str,
    types: &'r Types,
}

impl Rows<'_> {
    fn routes(&self, routes: &mut Vec<Route>) {
        let (kind, base) = (self.kind, self.base);
        let scope = if kind.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let collection = format!("{base}{scope}/{}", kind.plural);
        let item = format!("{collection}/{{name}}");
        self.add(routes, collection, self.collection());
        self.add(routes, item.clone(), self.item());
        if kind.namespaced && kind.has_verb("list") {
            let mut list = self.list();
            list.id = format!("list{}{}ForAllNamespaces", self.id, kind.kind);
            self.add(routes, format!("{base}/{}", kind.plural), vec![list]);
        }
        for sub in &kind.subresources {
            let path = format!("{item}/{}", sub.name);
            if connects(sub) {
                self.add(routes, path.clone(), self.connect(sub, ""));
                if &*sub.name == "proxy" {
                    self.add(routes, path + "/{path}", self.connect(sub, "WithPath"));
                }
            } else {
                self.add(routes, path, self.subresource(sub));
            }
        }
    }

    fn add(&self, routes: &mut Vec<Route>, path: String, operations: Vec<Operation>) {
        if operations.is_empty() {
            return;
        }
        let in_path = [("{name}", &NAME), ("{namespace}", &NAMESPACE), ("{path}", &PATH)];
        let mut params: Vec<&'static Param> = in_path
            .iter()
            .filter(|(part, _)| path.contains(part))
            .map(|(_, param)| *param)
            .collect();
        if operations.iter().all(|operation| operation.action != "connect") {
            params.push(&PRETTY);
        }
        routes.push(Route {
            path,
            params,
            operations,
        });
    }

    fn scope(&self) -> &'static str {
        if self.kind.namespaced { "Namespaced" } else { "" }
    }

    fn type_name(&self, id: Option<TypeId>) -> Option<String> {
        id.map(|id| self.types.get(id).name.to_string())
    }

    fn operation(&self, method: &'static str, verb: &str, action: &'static str, does: &str) -> Operation {
        let kind = self.kind;
        Operation {
            method,
            id: format!("{verb}{}{}{}", self.id, self.scope(), kind.kind),
            description: format!("{does} {}", kind.kind),
            action,
            kind: [
                kind.group.to_string(),
                kind.version.to_string(),
                kind.kind.to_string(),
            ],
            params: Vec::new(),
            body: None,
            codes: &["200"],
            answer: self.type_name(kind.schema),
            watch: false,
        }
    }

    fn list(&self) -> Operation {
        let mut list = self.operation("get", "list", "list", "list or watch objects of kind");
        list.params = LIST.iter().chain(&WATCH).collect();
        list.params.sort_by_key(|param| param.name);
        list.answer = self.type_name(self.kind.list_schema);
        list.watch = true;
        list
    }

    fn create(&self) -> Operation {
        let mut create = self.operation("post", "create", "post", "create");
        create.params = WRITE.iter().collect();
        create.body = create.answer.clone().map(Body::Object);
        create.codes = &["200", "201", "202"];
        create
    }

    fn collection(&self) -> Vec<Operation> {
        let mut operations = Vec::new();
        if self.kind.has_verb("deletecollection") {
            let mut delete = self.operation(
                "delete",
                "deleteCollection",
                "deletecollection",
                "delete collection of",
            );
            delete.id = format!("delete{}Collection{}{}", self.id, self.scope(), self.kind.kind);
            delete.params = LIST.iter().chain(&DELETE).collect();
            delete.params.sort_by_key(|param| param.name);
            delete.body = Some(Body::DeleteOptions);
            delete.answer = status();
            operations.push(delete);
        }
        if self.kind.has_verb("list") {
            operations.push(self.list());
        }
        if self.kind.has_verb("create") {
            operations.push(self.create());
        }
        operations
    }

    fn item(&self) -> Vec<Operation> {
        let mut operations = Vec::new();
        if self.kind.has_verb("delete") {
            let mut delete = self.operation("delete", "delete", "delete", "delete the");
            delete.params = DELETE.iter().collect();
            delete.body = Some(Body::DeleteOptions);
            delete.codes = &["200", "202"];
            delete.answer = status();
            operations.push(delete);
        }
        operations.extend(self.reads_and_writes(|verb| self.kind.has_verb(verb)));
        operations
    }

    /// The operations an object and a subresource with a body have in common.
    fn reads_and_writes(&self, has_verb: impl Fn(&str) -> bool) -> Vec<Operation> {
        let mut operations = Vec::new();
        if has_verb("get") {
            operations.push(self.operation("get", "read", "get", "read the specified"));
        }
        if has_verb("patch") {
            let mut patch = self.operation("patch", "patch", "patch", "partially update the specified");
            patch.params = WRITE.iter().chain([&FORCE]).collect();
            patch.body = Some(Body::Patch);
            patch.codes = &["200", "201"];
            operations.push(patch);
        }
        if has_verb("update") {
            let mut put = self.operation("put", "replace", "put", "replace the specified");
            put.params = WRITE.iter().collect();
            put.body = put.answer.clone().map(Body::Object);
            put.codes = &["200", "201"];
            operations.push(put);
        }
        operations
    }

    fn subresource(&self, sub: &Subresource) -> Vec<Operation> {
        let mut operations = self.reads_and_writes(|verb| sub.has_verb(verb));
        if sub.has_verb("create") {
            operations.push(self.create());
        }
        for operation in &mut operations {
            operation.id.push_str(&capital(&sub.name));
            operation.description = format!(
                "{} ({} of {})",
                operation.description, sub.name, self.kind.singular
            );
            operation.kind = [
                sub.group.to_string(),
                sub.version.to_string(),
                sub.kind.to_string(),
            ];
            operation.answer = self.type_name(sub.schema);
            if let Some(Body::Object(body)) = &mut operation.body {
                *body = operation.answer.clone().unwrap_or_default();
            }
            if &*sub.name == "log" {
                operation.params = LOG.iter().collect();
                operation.answer = None;
            }
        }
        operations
    }

    fn connect(&self, sub: &Subresource, suffix: &str) -> Vec<Operation> {
        let methods = sub.verbs.iter().filter_map(|verb| method(verb));
        methods
            .map(|method| {
                let mut operation = self.operation(method, "connect", "connect", "connect to");
                operation.id = format!(
                    "connect{}{}{}{}{}{suffix}",
                    self.id,
                    capital(method),
                    self.scope(),
                    self.kind.kind,
                    capital(&sub.name)
                );
                operation.description =
                    format!("connect {method} requests to {} of {}", sub.name, self.kind.kind);
                operation.kind = [
                    sub.group.to_string(),
                    sub.version.to_string(),
                    sub.kind.to_string(),
                ];
                operation.answer = None;
                operation.params = match &*sub.name {
                    "exec" => STREAM.iter().collect(),
                    "attach" => STREAM[1..].iter().collect(),
                    "portforward" => vec![&PORTS],
                    _ => Vec::new(),
                };
                operation
            })
            .collect()
    }
}

fn method(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "create" => "post",
        "delete" => "delete",
        "get" => "get",
        "patch" => "patch",
        "update" => "put",
        _ => return None,
    })
}

/// Whether the subresource hands the connection on, its options in the query.
fn connects(sub: &Subresource) -> bool {
    matches!(&*sub.name, "attach" | "exec" | "portforward" | "proxy")
}

fn status() -> Option<String> {
    find_type("io.k8s.apimachinery.pkg.apis.meta.v1.Status")
        .map(|id| Types::builtin().get(id).name.to_string())
}
