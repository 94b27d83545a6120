//! Which verb on which resource a request is: upstream's `RequestInfo`.

use http::Method;

use super::query::Query;

/// What a request wants, in the words that authorization rules are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// One object.
    Get,
    /// A collection.
    List,
    /// A stream of changes.
    Watch,
    /// A new object, or a connection by POST.
    Create,
    /// A whole object replaced.
    Update,
    /// A part of an object changed.
    Patch,
    /// One object removed.
    Delete,
    /// Every selected object removed.
    DeleteCollection,
    /// A method no resource has.
    Other,
}

impl Verb {
    /// The verb as rules and error messages spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Other => "other",
        }
    }
}

/// A request's path taken apart. For a path outside `/api` and `/apis`, only `verb` means something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo<'p> {
    /// True under `/api/{version}/…` and `/apis/{group}/{version}/…` with a resource.
    pub is_resource: bool,
    /// The verb.
    pub verb: Verb,
    /// Empty for the core group.
    pub group: &'p str,
    /// For example `v1`.
    pub version: &'p str,
    /// Empty for cluster scope and for all namespaces.
    pub namespace: &'p str,
    /// The plural name, for example `pods`.
    pub resource: &'p str,
    /// For example `status`; empty for the object itself.
    pub subresource: &'p str,
    /// Empty for a collection.
    pub name: &'p str,
    /// What follows the subresource, for proxies; without a leading slash.
    pub tail: &'p str,
}

impl<'p> RequestInfo<'p> {
    /// Takes a decoded path apart.
    pub fn parse(method: &Method, path: &'p str, query: &Query<'_>) -> Self {
        let mut info = Self {
            is_resource: false,
            verb: verb_of(method),
            group: "",
            version: "",
            namespace: "",
            resource: "",
            subresource: "",
            name: "",
            tail: "",
        };
        let trimmed = path.trim_matches('/');
        let rest = if let Some(rest) = trimmed.strip_prefix("api/") {
            rest
        } else if let Some(rest) = trimmed.strip_prefix("apis/") {
            let (group, rest) = split(rest);
            info.group = group;
            rest
        } else {
            return info;
        };
        let (version, mut rest) = split(rest);
        info.version = version;
        if version.is_empty() || rest.is_empty() {
            return info;
        }
        // The deprecated form /api/v1/watch/… of ?watch=true.
        let mut old_watch = false;
        if let Some(watched) = rest.strip_prefix("watch/") {
            (old_watch, rest) = (true, watched);
        }
        info.is_resource = true;
        info.place(rest);
        if info.name.is_empty() {
            info.verb = match info.verb {
                Verb::Get => Verb::List,
                Verb::Delete => Verb::DeleteCollection,
                verb => verb,
            };
        }
        if info.verb == Verb::List && query.flag("watch") || old_watch && method == Method::GET {
            info.verb = Verb::Watch;
        }
        // A single object may be watched, or listed, by its name in the field selector: rules that
        // name objects then apply to it.
        info
    }

    /// Reads `namespaces/{ns}/{resource}/{name}/{subresource}/…` in all its shorter forms.
    fn place(&mut self, rest: &'p str) {
        let (first, after) = split(rest);
        if first == "namespaces" && !after.is_empty() {
            let (namespace, inside) = split(after);
            let (next, _) = split(inside);
            self.namespace = namespace;
            let itself = next.is_empty() || self.group.is_empty() && matches!(next, "status" | "finalize");
            self.object(if itself { rest } else { inside });
            return;
        }
        self.object(rest);
    }

    fn object(&mut self, rest: &'p str) {
        let (resource, rest) = split(rest);
        let (name, rest) = split(rest);
        let (subresource, tail) = split(rest);
        self.resource = resource;
        self.name = name;
        self.subresource = subresource;
        self.tail = tail;
    }
}

fn verb_of(method: &Method) -> Verb {
    match *method {
        Method::GET | Method::HEAD => Verb::Get,
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        _ => Verb::Other,
    }
}

fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'p>(method: Method, path: &'p str, query: &str) -> RequestInfo<'p> {
        RequestInfo::parse(&method, path, &Query::parse(Some(query)))
    }

    #[test]
    fn an_object_in_a_namespace_is_recognised() {
        let info = parse(Method::GET, "/apis/apps/v1/namespaces/a/deployments/b/status", "");
        assert!(info.is_resource);
        assert_eq!((info.group, info.version, info.namespace), ("apps", "v1", "a"));
        assert_eq!(
            (info.resource, info.name, info.subresource),
            ("deployments", "b", "status")
        );
        assert_eq!(info.verb, Verb::Get);
    }

    #[test]
    fn collections_are_listed_watched_and_deleted() {
        let path = "/api/v1/namespaces/a/pods";
        assert_eq!(parse(Method::GET, path, "").verb, Verb::List);
        assert_eq!(parse(Method::GET, path, "watch=1").verb, Verb::Watch);
        assert_eq!(parse(Method::GET, path, "watch=false").verb, Verb::List);
        assert_eq!(parse(Method::DELETE, path, "").verb, Verb::DeleteCollection);
        assert_eq!(parse(Method::POST, path, "").verb, Verb::Create);
        assert_eq!(parse(Method::GET, "/api/v1/watch/pods", "").verb, Verb::Watch);
    }

    #[test]
    fn a_namespace_is_an_object_of_itself() {
        let info = parse(Method::PUT, "/api/v1/namespaces/a/finalize", "");
        assert_eq!((info.namespace, info.resource), ("a", "namespaces"));
        assert_eq!((info.name, info.subresource), ("a", "finalize"));
        let info = parse(Method::GET, "/api/v1/namespaces/a", "");
        assert_eq!(
            (info.namespace, info.resource, info.name),
            ("a", "namespaces", "a")
        );
        let info = parse(Method::GET, "/api/v1/namespaces", "");
        assert_eq!((info.namespace, info.resource, info.name), ("", "namespaces", ""));
    }

    #[test]
    fn a_proxy_keeps_the_rest_of_its_path() {
        let info = parse(Method::GET, "/api/v1/nodes/n/proxy/pods/x", "");
        assert_eq!((info.name, info.subresource, info.tail), ("n", "proxy", "pods/x"));
    }

    #[test]
    fn other_paths_are_no_resources() {
        for path in [
            "/",
            "/livez",
            "/api",
            "/apis/apps",
            "/apis/apps/v1",
            "/openapi/v3",
            "/apis/",
        ] {
            assert!(!parse(Method::GET, path, "").is_resource, "{path}");
        }
    }
}
