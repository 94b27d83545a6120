//! What clients should not send: the right Status comes back and the server lives on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::http::{self, get, post, request};
use crate::shared::{Space, cluster, map};

const JSON: [&str; 2] = ["-H", "Content-Type: application/json"];

#[test]
fn garbage_bodies_are_bad_requests() {
    let space = Space::new("garbage");
    let path = space.path("configmaps");
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\u{0}\u{1}\u{2}",
        "nonsense",
        r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":[]}"#,
    ] {
        post(&path, body).fails(400, "BadRequest");
    }
    let deep = format!("{}1{}", r#"{"a":"#.repeat(20_000), "}".repeat(20_000));
    assert!(matches!(post(&path, &deep).code, 400 | 422));
    post(
        &path,
        r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"}}"#,
    )
    .fails(400, "BadRequest");
    post(
        &path,
        r#"{"kind":"ConfigMap","apiVersion":"v2","metadata":{"name":"a"}}"#,
    )
    .fails(400, "BadRequest");
    post(&path, &map("a", r#","namespace":"other""#)).fails(400, "BadRequest");
    post(&path, r#"{"metadata":{}}"#).fails(422, "Invalid");
    for kind in ["vnd.kubernetes.protobuf", "yaml"] {
        let kind = format!("Content-Type: application/{kind}");
        request("POST", &path, &["-H", &kind], Some("k8s\u{0}\u{7f}garbage")).fails(400, "BadRequest");
    }
    assert_eq!(space.names("configmaps"), ["kube-root-ca.crt"]);
}

#[test]
fn yaml_is_as_good_as_json() {
    let space = Space::new("yaml");
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: \"1\"}\n";
    request(
        "POST",
        &space.path("configmaps"),
        &["-H", "Content-Type: application/yaml"],
        Some(yaml),
    )
    .ok();
    assert_eq!(space.field("configmap/a", ".data.k"), "1");
}

#[test]
fn a_body_of_more_than_three_mebibytes_is_too_large() {
    let space = Space::new("large");
    let path = space.path("configmaps");
    let sized = |bytes: usize| map("a", "").replace(r#""v""#, &format!(r#""{}""#, "x".repeat(bytes)));
    // curl sends on over HTTP/2 when the answer is there already; Go's client, kubectl's, does not.
    let told = space.with("create -f -", &sized(3 << 20)).fails();
    assert!(
        told.contains("RequestEntityTooLarge") || told.contains("limit is 3145728"),
        "{told}"
    );
    let one = [&JSON[..], &["--http1.1"]].concat();
    request("POST", &path, &one, Some(&sized(3 << 20))).fails(413, "RequestEntityTooLarge");
    // Also when its size is not told in advance.
    let chunked = [
        "-H",
        "Content-Type: application/json",
        "-H",
        "Transfer-Encoding: chunked",
        "--http1.1",
    ];
    request("POST", &path, &chunked, Some(&sized(3 << 20))).fails(413, "RequestEntityTooLarge");
    // A config map has its own, smaller limit.
    let status = post(&path, &sized(2 << 20)).fails(422, "Invalid");
    assert!(
        status["message"]
            .to_string()
            .contains("Too long: may not be more than 1048576 bytes"),
        "{}",
        status["message"]
    );
    post(&path, &sized(1 << 19)).ok();
}

#[test]
fn unknown_paths_kinds_and_verbs_are_told_apart() {
    let space = Space::new("unknown");
    for path in [
        "/nonsense",
        "/api/v1/nonsense",
        "/apis/apps/v1/nonsense",
        "/apis/apps/v9/deployments",
        "/api/v1/namespaces/default/pods/p/nonsense",
    ] {
        assert_eq!(get(path).code, 404, "{path}");
    }
    get("/api/v1/namespaces/default/pods/p").fails(404, "NotFound");
    request("PUT", &space.path("configmaps"), &JSON, Some("{}")).fails(405, "MethodNotAllowed");
    request(
        "POST",
        &format!("{}/a", space.path("configmaps")),
        &JSON,
        Some("{}"),
    )
    .fails(405, "MethodNotAllowed");
    assert_eq!(request("BREW", "/api/v1/pods", &[], None).code, 405);
    let nope = space.with(
        "create -f -",
        r#"{"apiVersion":"example.com/v1","kind":"Nope","metadata":{"name":"a"}}"#,
    );
    assert!(
        nope.fails()
            .contains(r#"no matches for kind "Nope" in version "example.com/v1""#)
    );
}

#[test]
fn wrong_content_types_are_unsupported() {
    let space = Space::new("types");
    let path = space.path("configmaps");
    space.with("create -f -", &map("a", "")).ok();
    let one = format!("{path}/a");
    request("POST", &path, &["-H", "Content-Type: text/html"], Some("{}")).fails(415, "UnsupportedMediaType");
    let patch = request("PATCH", &one, &JSON, Some("{}")).fails(415, "UnsupportedMediaType");
    assert!(
        patch["message"]
            .to_string()
            .contains("application/strategic-merge-patch+json"),
        "{patch}"
    );
    for (kind, body, code) in [
        ("json-patch", "{}", 400),
        ("json-patch", r#"[{"op":"dance","path":"/data"}]"#, 400),
        ("json-patch", r#"[{"op":"remove","path":"/data/nothing"}]"#, 422),
        ("merge-patch", "[]", 400),
        ("merge-patch", r#"{"data":"#, 400),
        ("strategic-merge-patch", r#"{"data":{"$patch":"dance"}}"#, 400),
        ("strategic-merge-patch", r#"{"metadata":{"name":"b"}}"#, 400),
    ] {
        let kind = format!("Content-Type: application/{kind}+json");
        let answer = request("PATCH", &one, &["-H", &kind], Some(body));
        assert_eq!(answer.code, code, "{kind} {body}: {answer:?}");
        assert_eq!(answer.json()["kind"], "Status");
    }
}

#[test]
fn bad_parameters_are_named() {
    let space = Space::new("parameters");
    let path = space.path("configmaps");
    for query in [
        "labelSelector=a%3D%3D%3D",
        "labelSelector=%21%21",
        "fieldSelector=nonsense",
        "fieldSelector=spec.x%3D1",
        "limit=-x",
        "timeoutSeconds=soon",
    ] {
        assert_eq!(get(&format!("{path}?{query}")).code, 400, "{query}");
    }
    post(&format!("{path}?dryRun=Some"), &map("a", "")).fails(422, "Invalid");
    post(&format!("{path}?fieldValidation=Sometimes"), &map("a", "")).fails(422, "Invalid");
    post(&format!("{path}?fieldManager={}", "m".repeat(200)), &map("a", "")).fails(422, "Invalid");
    assert_eq!(
        get(&format!("/api/v1/namespaces/{}/pods", "n".repeat(5000))).code,
        200
    );
    assert!(matches!(
        get("/api/v1/namespaces/%ff%2f..%2f/pods").code,
        200 | 400 | 404
    ));
}

#[test]
fn connections_that_say_nothing_or_half_do_no_harm() {
    let port = cluster().port();
    // A TLS handshake that is begun and left, silence, and plain HTTP on the TLS port.
    let mut idle: Vec<TcpStream> = Vec::new();
    for start in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 600],
    ] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
            stream.write_all(start).expect("a new connection takes bytes");
            idle.push(stream);
        }
    }
    let began = Instant::now();
    assert_eq!(get("/readyz").code, 200);
    assert!(began.elapsed() < Duration::from_secs(5));
    let mut garbage = idle.pop().expect("there are many");
    garbage
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("it is a timeout");
    let mut rest = Vec::new();
    // An alert, then the end; or a reset, as the server did not read all of it.
    let _ = garbage.read_to_end(&mut rest);
    assert!(rest.len() < 100, "{rest:?}");
}

#[test]
fn a_slow_upload_does_not_hold_others_up() {
    let space = Space::new("slow");
    let body = map("a", "").replace(r#""v""#, &format!(r#""{}""#, "x".repeat(60_000)));
    let path = space.path("configmaps");
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            request(
                "POST",
                &path,
                &[&JSON[..], &["--limit-rate", "20K"]].concat(),
                Some(&body),
            )
        });
        let began = Instant::now();
        for _ in 0..5 {
            space.ok("get configmaps");
        }
        assert!(!slow.is_finished() || began.elapsed() > Duration::from_secs(2));
        slow.join().expect("curl ends").ok();
    });
    assert_eq!(space.field("configmap/a", ".data.k").len(), 60_000);
}

#[test]
fn nothing_above_makes_the_server_panic() {
    // Tests run in any order; the log is of all that ran before this one.
    let _ = http::get("/readyz");
    assert!(!cluster().log().contains("panicked"), "{}", cluster().log());
}
