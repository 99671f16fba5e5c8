//! Requests as they come over the wire: what is answered to sound ones and to others.

#![expect(clippy::too_many_lines, reason = "answers take many lines")]

use apiserver::Server;
use axum::{Router, body::Body};
use clock::Clock;
use expect_test::{Expect, expect};
use http::{Request, header};
use regex::Regex;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// More than any answer holds.
const ANSWER_MAX: usize = 4 << 20;

const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

#[tokio::test]
async fn older_clients_discover_group_by_group() {
    let wire = Wire::new();
    wire.check(
        "GET /api",
        expect![[r#"
        200 {
          "kind": "APIVersions",
          "serverAddressByClientCIDRs": [],
          "versions": [
            "v1"
          ]
        }"#]],
    )
    .await;
    wire.check(
        "GET /apis/example.com",
        expect![[r#"
        200 {
          "apiVersion": "v1",
          "kind": "APIGroup",
          "name": "example.com",
          "preferredVersion": {
            "groupVersion": "example.com/v1",
            "version": "v1"
          },
          "versions": [
            {
              "groupVersion": "example.com/v1",
              "version": "v1"
            }
          ]
        }"#]],
    )
    .await;
    wire.check(
        "GET /apis/example.com/v1",
        expect![[r#"
        200 {
          "apiVersion": "v1",
          "groupVersion": "example.com/v1",
          "kind": "APIResourceList",
          "resources": [
            {
              "kind": "Widget",
              "name": "widgets",
              "namespaced": true,
              "singularName": "widget",
              "verbs": [
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch"
              ]
            },
            {
              "kind": "Widget",
              "name": "widgets/status",
              "namespaced": true,
              "singularName": "",
              "verbs": [
                "get",
                "patch",
                "update"
              ]
            }
          ]
        }"#]],
    )
    .await;
    wire.check(
        "GET /apis/nowhere.com/v1",
        expect!["404 NotFound: the server could not find the requested resource"],
    )
    .await;
    wire.check("GET /livez/ping", expect!["200 ok"]).await;
}

#[tokio::test]
async fn objects_are_shown_in_the_form_that_is_asked_for() {
    let wire = Wire::new();
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"size": 1}});
    wire.send(&format!("POST {WIDGETS}"), "", "", &widget.to_string()).await;
    wire.check_as(
        &format!("GET {WIDGETS}?includeObject=None"),
        TABLE,
        expect![[r#"
            200 {
              "apiVersion": "meta.k8s.io/v1",
              "columnDefinitions": [
                {
                  "description": "Name of the object, unique among those of its kind and namespace.",
                  "format": "name",
                  "name": "Name",
                  "priority": 0,
                  "type": "string"
                },
                {
                  "description": "Time since the object was created.",
                  "format": "",
                  "name": "Age",
                  "priority": 0,
                  "type": "date"
                }
              ],
              "kind": "Table",
              "metadata": {
                "resourceVersion": "4"
              },
              "rows": [
                {
                  "cells": [
                    "a",
                    "AGE"
                  ],
                  "object": null
                }
              ]
            }"#]],
    )
    .await;
    let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let (_, list) = wire.send(&format!("GET {WIDGETS}"), metadata, "", "").await;
    let list: Value = list.parse().expect("an object");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert_eq!(list["items"][0]["spec"], Value::Null);
    wire.check_as(&format!("GET {WIDGETS}"), "application/cbor", expect!["406 NotAcceptable: only the following media types are accepted: application/json, application/json;stream=watch"]).await;
    // Older clients give up without this one.
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    wire.check_as("GET /openapi/v2", protobuf, expect!["200 \n\u{3}2.0"]).await;
}

#[tokio::test]
async fn nulls_count_as_absent() {
    let wire = Wire::new();
    let widget = json!({
        "kind": "Widget",
        "metadata": {"name": "a", "creationTimestamp": null, "labels": null},
        "spec": {"size": 1, "note": null},
    });
    let (code, made) =
        wire.send(&format!("POST {WIDGETS}"), "", "application/json", &widget.to_string()).await;
    assert_eq!(code, 201, "{made}");
    let made: Value = made.parse().expect("an object");
    assert_eq!(made["spec"], json!({"color": "red", "size": 1}));
    assert!(made["metadata"]["creationTimestamp"].is_string());
}

#[tokio::test]
async fn a_watch_tells_the_head_of_its_table_once() {
    let wire = Wire::new();
    for name in ["a", "b"] {
        let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 1}});
        wire.send(&format!("POST {WIDGETS}"), "", "", &widget.to_string()).await;
    }
    let watch = format!(
        "GET {WIDGETS}?watch=1&timeoutSeconds=1&includeObject=None&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let (_, lines) = wire.send(&watch, TABLE, "", "").await;
    let heads: Vec<usize> = lines
        .lines()
        .map(|line| line.parse::<Value>().expect("a line of JSON"))
        .map(|event| event["object"]["columnDefinitions"].as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(heads[..3], [2, 0, 0], "{lines}");
}

#[tokio::test]
async fn hostile_requests_are_refused() {
    let wire = Wire::new();
    let post = format!("POST {WIDGETS}");
    let json = "application/json";
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(3 << 20));
    wire.check_body(
        &post,
        json,
        &large,
        expect!["413 RequestEntityTooLarge: Request entity too large: limit is 3145728"],
    )
    .await;
    wire.check_body(&post, json, &"[".repeat(100_000), expect!["400 BadRequest: the object provided is unrecognized (must be of type Object): recursion limit exceeded at line 1 column 128"]).await;
    wire.check_body(&post, "text/plain", "{}", expect!["415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"]).await;
    wire.check_body(&post, "application/vnd.kubernetes.protobuf", "k8s\0\u{1}", expect!["400 BadRequest: the object provided is unrecognized (must be of type Object): unexpected EOF"])
        .await;
    wire.check_body(&post, json, "[]", expect!["400 BadRequest: the body is not an object"]).await;
    wire.check_body(&post, json, "{\"kind\":\"Gadget\"}", expect![[r#"422 Invalid: Gadget.example.com "" is invalid: kind: Invalid value: "Gadget": must be Widget"#]]).await;
    wire.check_body(&post, json, "{\"spec\":{\"size\":1}}", expect![[r#"400 BadRequest: the object provided is unrecognized (must be of type Widget): Object 'Kind' is missing in '{"spec":{"size":1}}' ({"spec":{"size":1}})"#]]).await;
    let mut noted = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a", "annotations": {"n": "x".repeat(1 << 20)}}, "spec": {"size": 1}});
    wire.check_body(&post, json, &noted.to_string(), expect![[r#"422 Invalid: Widget.example.com "a" is invalid: [metadata.annotations: Too long: may not be more than 262144 bytes, <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]"#]]).await;
    noted["metadata"] =
        json!({"name": "../a", "labels": {"a b": "c d"}, "annotations": {"Bad Key": "x"}});
    wire.check_body(&post, json, &noted.to_string(), expect![[r#"422 Invalid: Widget.example.com "../a" is invalid: [metadata.name: Invalid value: "../a": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), metadata.labels: Invalid value: "c d": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?'), metadata.annotations: Invalid value: "Bad Key": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')]"#]]).await;
    noted["metadata"] = json!({"name": "a", "labels": {"n": 1}});
    wire.check_body(&post, json, &noted.to_string(), expect![[r#"400 BadRequest: Widget in version "v1" cannot be handled as a Widget: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"#]]).await;
    wire.check(&format!("GET {WIDGETS}?labelSelector=a%20b"), expect!["400 BadRequest: unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"]).await;
    wire.check(
        &format!("GET {WIDGETS}?limit=x"),
        expect![[r#"400 BadRequest: strconv.ParseInt: parsing "x": invalid syntax"#]],
    )
    .await;
    wire.check(
        &format!("GET {WIDGETS}?continue=x"),
        expect!["400 BadRequest: continue key is not valid: Invalid input length: 1"],
    )
    .await;
    wire.check(
        &format!("PUT {WIDGETS}"),
        expect![[r#"405 MethodNotAllowed: update is not supported on resources of kind "widgets.example.com""#]],
    )
    .await;
    wire.check(
        &format!("DELETE {WIDGETS}/a/scale"),
        expect![[r#"404 NotFound: widgets.example.com "a" not found"#]],
    )
    .await;
    wire.check(
        "GET /api/v1/widgets",
        expect!["404 NotFound: the server could not find the requested resource"],
    )
    .await;
    wire.check("GET /", expect!["404 NotFound: the server could not find the requested resource"])
        .await;
}

#[tokio::test]
async fn applies_are_checked_before_they_are_merged() {
    let wire = Wire::new();
    let path = format!("PATCH {WIDGETS}/a");
    let apply = "application/apply-patch+yaml";
    let widget = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: a}, spec: {size: 1}}";
    wire.check_body(&path, apply, widget, expect![[r#"422 Invalid: PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#]]).await;
    let path = format!("{path}?fieldManager=me");
    wire.check_body(&path, apply, "a: [", expect!["400 BadRequest: the object provided is unrecognized (must be of type Object): line 1, column 4: unclosed bracket '['"]).await;
    wire.check_body(&path, apply, &widget.replace("/v1", "/v2"), expect!["400 BadRequest: Incorrect version specified in apply patch. Specified patch version: example.com/v2, expected: example.com/v1"]).await;
    wire.check_body(
        &path,
        apply,
        &widget.replace("name: a", "name: b"),
        expect![
            "400 BadRequest: the name of the object (b) does not match the name on the URL (a)"
        ],
    )
    .await;
    wire.check_body(
        &path,
        apply,
        &widget.replace("name: a", "name: a, managedFields: []"),
        expect!["400 BadRequest: metadata.managedFields must be nil"],
    )
    .await;
    wire.check_body(
        &path,
        apply,
        &widget.replace("size: 1", "size: 1, names: [x, x]"),
        expect![[r#"500 : failed to create typed patch object (default/a; example.com/v1, Kind=Widget): .spec.names: duplicate entries for key [="x"]"#]],
    )
    .await;
    wire.check_body(
        &path,
        apply,
        &widget.replace("size: 1", "size: 1, colour: red"),
        expect!["500 : failed to create typed patch object (/a; example.com/v1, Kind=Widget): .spec.colour: field not declared in schema"],
    )
    .await;
    wire.check_body(
        &format!("{path}&force=true"),
        "application/merge-patch+json",
        "{}",
        expect![[r#"422 Invalid: PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch"#]],
    )
    .await;
    wire.check_body(
        &format!("{path}&fieldValidation=Always"),
        apply,
        widget,
        expect![[r#"422 Invalid: PatchOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Always": supported values: "", "Ignore", "Strict", "Warn""#]],
    )
    .await;
}

#[tokio::test]
async fn only_the_token_opens() {
    let wire = Wire { router: apiserver::require_token(Wire::new().router, "secret") };
    wire.check("GET /api/v1/secrets", expect!["401 Unauthorized: Unauthorized"]).await;
    let (code, _) = wire.send("GET /version", "", "", "").await;
    assert_eq!(code, 200);
    let request = Request::get("/api/v1/secrets").header(header::AUTHORIZATION, "Bearer secret");
    let request = request.body(Body::empty()).expect("a sound request");
    let response = wire.router.clone().oneshot(request).await.expect("the server answers");
    assert_eq!(response.status(), 200);
}

/// A parser that is a bit off in the last place would move a number a little at every write.
#[tokio::test]
async fn numbers_are_read_back_as_they_were_written() {
    let wire = Wire::new();
    let numbers =
        ["123456789.12345679", "0.30000000000000004", "1.7976931348623157e+308", "5e-324"];
    let written = format!(r#"[{}]"#, numbers.join(","));
    let widget = format!(
        r#"{{"apiVersion":"example.com/v1","kind":"Widget","metadata":{{"name":"numbers"}},
            "spec":{{"size":1,"free":{{"numbers":{written}}}}}}}"#
    );
    let (code, answer) =
        wire.send(&format!("POST {WIDGETS}"), "", "application/json", &widget).await;
    assert_eq!(code, 201, "{answer}");
    for note in ["one", "two", "three"] {
        let patch = json!({"spec": {"note": note}}).to_string();
        let line = format!("PATCH {WIDGETS}/numbers");
        let (code, answer) = wire.send(&line, "", "application/merge-patch+json", &patch).await;
        assert_eq!(code, 200, "{answer}");
        assert!(answer.contains(&written), "{answer}");
    }
}

struct Wire {
    router: Router,
}

impl Wire {
    fn new() -> Wire {
        let server = Server::in_memory(Clock::real());
        server.install_yaml(include_str!("widgets.yaml")).expect("a sound definition");
        Wire { router: server.router() }
    }

    /// Sends a request; its line is a method and a path.
    async fn send(&self, line: &str, accept: &str, media: &str, body: &str) -> (u16, String) {
        let (method, path) = line.split_once(' ').expect("a method and a path");
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in [(header::ACCEPT, accept), (header::CONTENT_TYPE, media)] {
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        let request = request.body(Body::from(body.to_owned())).expect("a sound request");
        let response = self.router.clone().oneshot(request).await.expect("the server answers");
        let code = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), ANSWER_MAX).await;
        let body = body.expect("an answer").to_vec();
        (code, String::from_utf8(body).expect("the answer is text"))
    }

    async fn check(&self, line: &str, expected: Expect) {
        self.check_request(line, "", "", "", expected).await;
    }

    async fn check_as(&self, line: &str, accept: &str, expected: Expect) {
        self.check_request(line, accept, "", "", expected).await;
    }

    async fn check_body(&self, line: &str, media: &str, body: &str, expected: Expect) {
        self.check_request(line, "", media, body, expected).await;
    }

    async fn check_request(
        &self,
        line: &str,
        accept: &str,
        media: &str,
        body: &str,
        expected: Expect,
    ) {
        let (code, answer) = self.send(line, accept, media, body).await;
        let age = Regex::new(r#""\d+s""#).expect("a sound pattern");
        let answer = age.replace_all(&answer, "\"AGE\"");
        let shown = match answer.parse::<Value>() {
            Ok(status) if status["kind"] == "Status" => {
                let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
                format!("{code} {}: {}", text("reason"), text("message"))
            }
            Ok(object) => format!("{code} {object:#}"),
            Err(_) => format!("{code} {answer}"),
        };
        expected.assert_eq(&shown);
    }
}
