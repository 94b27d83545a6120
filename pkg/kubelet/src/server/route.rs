//! Which request is meant. Pure.

use http::Method;

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Namespace.
    pub namespace: String,
    /// Pod.
    pub pod: String,
    /// Its uid, when the client says it: then another pod of that name is not meant.
    pub uid: Option<String>,
    /// Container; empty for the pod itself.
    pub container: String,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/healthz`
    Health,
    /// `/pods`
    Pods,
    /// `/stats/summary`
    Summary,
    /// `/containerLogs/{namespace}/{pod}/{container}`
    Logs(Target),
    /// `/exec/{namespace}/{pod}/[{uid}/]{container}`
    Exec(Target),
    /// `/attach/{namespace}/{pod}/[{uid}/]{container}`
    Attach(Target),
    /// `/portForward/{namespace}/{pod}[/{uid}]`
    PortForward(Target),
    /// `/run/{namespace}/{pod}/[{uid}/]{container}`
    Run(Target),
}

/// The route of a path; `None` is 404.
pub fn route(method: &Method, path: &str) -> Option<Route> {
    let parts: Vec<String> = path.trim_matches('/').split('/').map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let get = *method == Method::GET;
    match parts.as_slice() {
        ["healthz"] if get => Some(Route::Health),
        ["pods"] if get => Some(Route::Pods),
        ["stats", "summary"] => Some(Route::Summary),
        ["containerLogs", rest @ ..] if get && rest.len() == 3 => container(rest).map(Route::Logs),
        ["exec", rest @ ..] => container(rest).map(Route::Exec),
        ["attach", rest @ ..] => container(rest).map(Route::Attach),
        ["run", rest @ ..] if *method == Method::POST => container(rest).map(Route::Run),
        ["portForward", namespace, pod] => Some(Route::PortForward(target(namespace, pod, None, ""))),
        ["portForward", namespace, pod, uid] => {
            Some(Route::PortForward(target(namespace, pod, Some(uid), "")))
        }
        _ => None,
    }
}

fn container(parts: &[&str]) -> Option<Target> {
    match parts {
        [namespace, pod, container] => Some(target(namespace, pod, None, container)),
        [namespace, pod, uid, container] => Some(target(namespace, pod, Some(uid), container)),
        _ => None,
    }
}

fn target(namespace: &str, pod: &str, uid: Option<&str>, container: &str) -> Target {
    Target {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        uid: uid.map(str::to_owned),
        container: container.to_owned(),
    }
}

/// The pairs of a query, as handlers see them.
pub type Pairs = [(String, String)];

/// The pairs of a query, decoded.
pub fn query(query: Option<&str>) -> Vec<(String, String)> {
    let pairs = query.unwrap_or_default().split('&').filter(|p| !p.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
        })
        .collect()
}

/// `%2F` and the like.
fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let code = bytes
            .get(i + 1..i + 3)
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[i], code) {
            (b'%', Some(code)) => {
                out.push(code);
                i += 3;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The first value of a name.
pub fn value<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// `true`, `1`.
pub fn flag(pairs: &[(String, String)], name: &str) -> bool {
    matches!(value(pairs, name), Some("true" | "1" | "True"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_kubelets() {
        let get = |p: &str| route(&Method::GET, p);
        assert_eq!(
            get("/containerLogs/ns/web/a"),
            Some(Route::Logs(target("ns", "web", None, "a")))
        );
        assert_eq!(
            get("/exec/ns/web/u1/a"),
            Some(Route::Exec(target("ns", "web", Some("u1"), "a")))
        );
        assert_eq!(
            get("/portForward/ns/web"),
            Some(Route::PortForward(target("ns", "web", None, "")))
        );
        assert_eq!(get("/run/ns/web/a"), None);
        assert_eq!(get("/containerLogs/ns/web"), None);
        assert_eq!(get("/"), None);
    }

    #[test]
    fn queries_are_decoded() {
        let q = query(Some("command=sh&command=-c&command=echo%20a%2Bb+c&tty=true"));
        let commands: Vec<&str> = q
            .iter()
            .filter(|(n, _)| n == "command")
            .map(|(_, v)| v.as_str())
            .collect();
        assert_eq!(commands, ["sh", "-c", "echo a+b c"]);
        assert!(flag(&q, "tty"));
    }
}
