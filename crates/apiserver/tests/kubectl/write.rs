//! Writing with `kubectl`.

use expect_test::expect;

use super::cluster::Cluster;

const WIDGET: &str = "
apiVersion: example.com/v1
kind: Widget
metadata:
  name: a
spec:
  size: 3
";

#[test]
fn manifests_are_applied() {
    let cluster = Cluster::start();
    expect![[r#"
        widget.example.com/a created
    "#]]
    .assert_eq(&cluster.apply(WIDGET));
    expect![[r#"
        widget.example.com/a unchanged
    "#]]
    .assert_eq(&cluster.apply(WIDGET));
    let changed = WIDGET.replace("size: 3", "size: 4\n  color: green");
    expect![[r#"
        diff -u -N LIVE/example.com.v1.Widget.default.a MERGED/example.com.v1.Widget.default.a
        --- LIVE/example.com.v1.Widget.default.a
        +++ MERGED/example.com.v1.Widget.default.a
        @@ -5,13 +5,13 @@
             kubectl.kubernetes.io/last-applied-configuration: |
               {"apiVersion":"example.com/v1","kind":"Widget","metadata":{"annotations":{},"name":"a","namespace":"default"},"spec":{"size":3}}
           creationTimestamp: "TIME"
        -  generation: 1
        +  generation: 2
           name: a
           namespace: default
           resourceVersion: N
           uid: UID
         spec:
        -  color: red
        -  size: 3
        +  color: green
        +  size: 4
         status:
           observed: -1
        exit code 1
    "#]].assert_eq(&cluster.kubectl_with("diff -f -", &changed).masked());
    expect![[r#"
        widget.example.com/a configured
    "#]]
    .assert_eq(&cluster.apply(&changed));
    expect![[r#"
        widget.example.com/a configured
    "#]]
    .assert_eq(&cluster.apply(WIDGET));
    cluster.check("get widget a -o 'jsonpath={.spec}'", expect![[r#"{"color":"red","size":3}"#]]);
    let unknown = WIDGET.replace("size: 3", "size: 4\n  colour: green");
    expect![[r#"
        stderr: Error from server (BadRequest): error when applying patch:
        {"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"apiVersion\":\"example.com/v1\",\"kind\":\"Widget\",\"metadata\":{\"annotations\":{},\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{\"colour\":\"green\",\"size\":4}}\n"}},"spec":{"colour":"green","size":4}}
        to:
        Resource: "example.com/v1, Resource=widgets", GroupVersionKind: "example.com/v1, Kind=Widget"
        Name: "a", Namespace: "default"
        for: "STDIN": error when patching "STDIN": Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.colour"
        exit code 1
    "#]].assert_eq(&cluster.kubectl_with("apply -f -", &unknown).masked());
    expect![[r#"
        widget.example.com/a configured
        stderr: Warning: unknown field "spec.colour"
    "#]]
    .assert_eq(&cluster.kubectl_with("apply --validate=warn -f -", &unknown).masked());
    let wrong = WIDGET.replace("size: 3", "size: 4000");
    expect![[r#"
        stderr: The Widget "a" is invalid: spec.size: Invalid value: 4000: spec.size in body should be less than or equal to 1000
        exit code 1
    "#]].assert_eq(&cluster.kubectl_with("apply -f -", &wrong).masked());
    let dry = WIDGET.replace("name: a", "name: dry");
    expect![[r#"
        widget.example.com/dry created (server dry run)
    "#]]
    .assert_eq(&cluster.kubectl_with("apply --dry-run=server -f -", &dry).masked());
    cluster.check(
        "get widget dry",
        expect![[r#"
        stderr: Error from server (NotFound): widgets.example.com "dry" not found
        exit code 1
    "#]],
    );
    let lost = WIDGET.replace("name: a", "name: a\n  namespace: nowhere");
    expect![[r#"
        stderr: Error from server (NotFound): error when creating "STDIN": namespaces "nowhere" not found
        exit code 1
    "#]].assert_eq(&cluster.kubectl_with("apply -f -", &lost).masked());
    expect![[r#"
        widget.example.com "a" deleted
    "#]]
    .assert_eq(&cluster.kubectl_with("delete -f -", WIDGET).masked());
}

#[test]
fn manifests_are_applied_by_the_server() {
    let cluster = Cluster::start();
    let apply = |manager: &str, manifest: &str| {
        let arguments = format!("apply --server-side --field-manager={manager} -f -");
        cluster.kubectl_with(&arguments, manifest).masked()
    };
    expect![[r#"
        widget.example.com/a serverside-applied
    "#]]
    .assert_eq(&apply("one", WIDGET));
    let other = WIDGET.replace("size: 3", "size: 5\n  color: green");
    expect![[r#"
        stderr: error: Apply failed with 1 conflict: conflict with "one": .spec.size
        Please review the fields above--they currently have other managers. Here
        are the ways you can resolve this warning:
        * If you intend to manage all of these fields, please re-run the apply
          command with the `--force-conflicts` flag.
        * If you do not intend to manage all of the fields, please edit your
          manifest to remove references to the fields that should keep their
          current managers.
        * You may co-own fields by updating your manifest to match the existing
          value; in this case, you'll become the manager if the other manager(s)
          stop managing the field (remove it from their configuration).
        See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
        exit code 1
    "#]]
    .assert_eq(&apply("two", &other));
    expect![[r#"
        widget.example.com/a serverside-applied
    "#]]
    .assert_eq(&apply("two --force-conflicts", &other));
    cluster.check(
        "get widget a -o yaml --show-managed-fields",
        expect![[r#"
        apiVersion: example.com/v1
        kind: Widget
        metadata:
          creationTimestamp: "TIME"
          generation: 2
          managedFields:
          - apiVersion: example.com/v1
            fieldsType: FieldsV1
            fieldsV1:
              f:spec:
                f:color: {}
                f:size: {}
            manager: two
            operation: Apply
            time: "TIME"
          name: a
          namespace: default
          resourceVersion: N
          uid: UID
        spec:
          color: green
          size: 5
        status:
          observed: -1
    "#]],
    );
    let unknown = WIDGET.replace("size: 3", "size: 4\n  colour: green");
    expect![[r#"
        stderr: Error from server: failed to create typed patch object (default/a; example.com/v1, Kind=Widget): .spec.colour: field not declared in schema
        exit code 1
    "#]].assert_eq(&apply("one", &unknown));
    // What kubectl applied before by itself is its own.
    cluster.apply(&WIDGET.replace("name: a", "name: b"));
    let b = WIDGET.replace("name: a", "name: b").replace("size: 3", "size: 4");
    expect![[r#"
        widget.example.com/b serverside-applied
    "#]]
    .assert_eq(&cluster.kubectl_with("apply --server-side -f -", &b).masked());
    cluster.check("get widget b -o yaml --show-managed-fields", expect![[r#"
        apiVersion: example.com/v1
        kind: Widget
        metadata:
          annotations:
            kubectl.kubernetes.io/last-applied-configuration: |
              {"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"b","namespace":"default"},"spec":{"size":4}}
          creationTimestamp: "TIME"
          generation: 2
          managedFields:
          - apiVersion: example.com/v1
            fieldsType: FieldsV1
            fieldsV1:
              f:spec:
                f:size: {}
            manager: kubectl
            operation: Apply
            time: "TIME"
          - apiVersion: example.com/v1
            fieldsType: FieldsV1
            fieldsV1:
              f:metadata:
                f:annotations:
                  f:kubectl.kubernetes.io/last-applied-configuration: {}
            manager: kubectl-last-applied
            operation: Apply
            time: "TIME"
          name: b
          namespace: default
          resourceVersion: N
          uid: UID
        spec:
          color: red
          size: 4
        status:
          observed: -1
    "#]]);
}

#[test]
fn objects_are_annotated_labelled_and_edited() {
    let cluster = Cluster::start();
    cluster.apply(WIDGET);
    cluster.check(
        "annotate widget a example.com/note=hello",
        expect![[r#"
        widget.example.com/a annotated
    "#]],
    );
    cluster.check("annotate widget a example.com/note=again", expect![[r#"
        stderr: error: --overwrite is false but found the following declared annotation(s): 'example.com/note' already has a value (hello)
        exit code 1
    "#]]);
    cluster.check(
        "label widget a team=x",
        expect![[r#"
        widget.example.com/a labeled
    "#]],
    );
    cluster.check(
        "label widget a team-",
        expect![[r#"
        widget.example.com/a unlabeled
    "#]],
    );
    cluster.check("label widget a 'team=not good'", expect![[r#"
        stderr: error: invalid label value: "team=not good": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        exit code 1
    "#]]);
    expect![[r#"
        widget.example.com/a edited
    "#]]
    .assert_eq(&cluster.edit("edit widget a", "size: 3", "size: 7").masked());
    cluster.check("get widget a -o 'jsonpath={.spec}'", expect![[r#"{"color":"red","size":7}"#]]);
    expect![[r#"
        stderr: Edit cancelled, no changes made.
    "#]]
    .assert_eq(&cluster.edit("edit widget a", "size: 7", "size: 7").masked());
    expect![[r#"
        stderr: Error from server (NotFound): configmaps "nosuch" not found
        exit code 1
    "#]]
    .assert_eq(&cluster.edit("edit configmap nosuch", "a", "b").masked());
}

#[test]
fn objects_are_patched() {
    let cluster = Cluster::start();
    cluster.apply(WIDGET);
    cluster.check(
        "patch widget a --type=merge -p '{\"spec\":{\"size\":4}}'",
        expect![[r#"
        widget.example.com/a patched
    "#]],
    );
    cluster.check(
        "patch widget a --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/size\",\"value\":5}]'",
        expect![[r#"
            widget.example.com/a patched
        "#]],
    );
    cluster.check("patch widget a -p '{\"spec\":{\"size\":6}}'", expect![[r#"
        stderr: error: application/strategic-merge-patch+json is not supported by example.com/v1, Kind=Widget: the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml
        exit code 1
    "#]]);
    cluster.check(
        "patch widget a --type=merge --subresource=status -p '{\"status\":{\"observed\":5}}'",
        expect![[r#"
            widget.example.com/a patched
        "#]],
    );
    cluster.check(
        "get widget a -o 'jsonpath={.spec} {.status} {.metadata.generation}'",
        expect![[r#"{"color":"red","size":5} {"observed":5} 3"#]],
    );
    cluster.run("create configmap m --from-literal=a=1");
    cluster.check(
        "patch configmap m -p '{\"data\":{\"b\":\"2\",\"a\":null}}'",
        expect![[r#"
        configmap/m patched
    "#]],
    );
    cluster.check("get configmap m -o 'jsonpath={.data}'", expect![[r#"{"b":"2"}"#]]);
    cluster.check("patch configmap m -p '{\"data\":{\"b\":2}}'", expect![[r#"
        stderr: Error from server (BadRequest): ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string
        exit code 1
    "#]]);
}

#[test]
fn built_in_kinds_are_created() {
    let cluster = Cluster::start();
    cluster.check(
        "create namespace shop",
        expect![[r#"
        namespace/shop created
    "#]],
    );
    cluster.check(
        "create namespace shop",
        expect![[r#"
        stderr: Error from server (AlreadyExists): namespaces "shop" already exists
        exit code 1
    "#]],
    );
    cluster.check(
        "create secret generic s -n shop --from-literal=password=secret",
        expect![[r#"
        secret/s created
    "#]],
    );
    cluster.check(
        "create secret generic s -n nowhere --from-literal=password=secret",
        expect![[r#"
            stderr: error: failed to create secret namespaces "nowhere" not found
            exit code 1
        "#]],
    );
    cluster.check(
        "create serviceaccount robot -n shop",
        expect![[r#"
        serviceaccount/robot created
    "#]],
    );
    cluster.check(
        "create configmap settings -n shop --from-literal=a=1",
        expect![[r#"
        configmap/settings created
    "#]],
    );
    cluster.check(
        "get secrets,cm,sa -n shop",
        expect![[r#"
            NAME       TYPE     DATA   AGE
            secret/s   Opaque   1      AGE

            NAME                 DATA   AGE
            configmap/settings   1      AGE

            NAME                   AGE
            serviceaccount/robot   AGE
        "#]],
    );
    cluster.check(
        "describe secret s -n shop",
        expect![[r#"
            Name:         s
            Namespace:    shop
            Labels:       <none>
            Annotations:  <none>

            Type:  Opaque

            Data
            ====
            password:  6 bytes
        "#]],
    );
    cluster.check(
        "describe ns shop",
        expect![[r#"
            Name:         shop
            Labels:       kubernetes.io/metadata.name=shop
            Annotations:  <none>
            Status:       Active
        "#]],
    );
    // What newer clients show of service accounts differs.
    assert!(cluster.run("describe sa robot -n shop").contains("Name:                robot"));
    cluster.check(
        "auth can-i create secrets",
        expect![[r#"
            yes
        "#]],
    );
    cluster.check(
        "delete namespace shop",
        expect![[r#"
            namespace "shop" deleted
        "#]],
    );
    cluster.check(
        "get secrets -A",
        expect![[r#"
        stderr: No resources found
    "#]],
    );
}

#[test]
fn objects_are_replaced_deleted_and_waited_for() {
    let cluster = Cluster::start();
    cluster.apply(WIDGET);
    let unversioned = WIDGET.replace("size: 3", "size: 9");
    expect![[r#"
        widget.example.com/a replaced
    "#]]
    .assert_eq(&cluster.kubectl_with("replace -f -", &unversioned).masked());
    cluster.run(
        "patch widget a --type=merge --subresource=status -p '{\"status\":{\"note\":\"fine\"}}'",
    );
    cluster.check(
        "wait widget/a '--for=jsonpath={.status.note}=fine' --timeout=60s",
        expect![[r#"
            widget.example.com/a condition met
        "#]],
    );
    cluster.check(
        "wait widget/a --for=condition=Ready --timeout=1s",
        expect![[r#"
        stderr: error: timed out waiting for the condition on widgets/a
        exit code 1
    "#]],
    );
    cluster.run(
        "patch widget a --type=merge -p '{\"metadata\":{\"finalizers\":[\"example.com/x\"]}}'",
    );
    cluster.check(
        "delete widget a --wait=false",
        expect![[r#"
        widget.example.com "a" deleted
    "#]],
    );
    cluster.check(
        "get widget a -o 'jsonpath={.metadata.finalizers}'",
        expect![[r#"["example.com/x"]"#]],
    );
    cluster.run("patch widget a --type=merge -p '{\"metadata\":{\"finalizers\":null}}'");
    cluster.check(
        "get widgets",
        expect![[r#"
        stderr: No resources found in default namespace.
    "#]],
    );
    cluster.apply(WIDGET);
    cluster.check(
        "delete widgets --all",
        expect![[r#"
        widget.example.com "a" deleted
    "#]],
    );
    cluster.check(
        "delete widget a",
        expect![[r#"
        stderr: Error from server (NotFound): widgets.example.com "a" not found
        exit code 1
    "#]],
    );
    cluster.check("delete widget a --ignore-not-found", expect![[""]]);
}

#[test]
fn a_definition_is_served_as_soon_as_it_is_applied() {
    let cluster = Cluster::start();
    let definition =
        include_str!("../widgets.yaml").replace("widgets", "gadgets").replace("Widget", "Gadget");
    expect![[r#"
        customresourcedefinition.apiextensions.k8s.io/gadgets.example.com created
    "#]]
    .assert_eq(&cluster.apply(&definition));
    cluster.check(
        "wait crd/gadgets.example.com --for=condition=Established",
        expect![[r#"
        customresourcedefinition.apiextensions.k8s.io/gadgets.example.com condition met
    "#]],
    );
    let gadget = WIDGET.replace("Widget", "Gadget");
    expect![[r#"
        gadget.example.com/a created
    "#]]
    .assert_eq(&cluster.apply(&gadget));
    cluster.check(
        "get gadgets",
        expect![[r#"
        NAME   AGE
        a      AGE
    "#]],
    );
    cluster.check(
        "delete crd gadgets.example.com",
        expect![[r#"
        customresourcedefinition.apiextensions.k8s.io "gadgets.example.com" deleted
    "#]],
    );
    cluster.check("get gadgets", expect![[r#"
        stderr: Error from server (NotFound): Unable to list "example.com/v1, Resource=gadgets": the server could not find the requested resource
        exit code 1
    "#]]);
}

#[test]
fn versions_that_go_are_warned_of_and_identities_are_told() {
    let cluster = Cluster::start();
    cluster.apply(include_str!("../conformance/gadgets.yaml"));
    cluster.apply("apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g}\nspec: {}\n");
    cluster.check(
        "get gadgets.v1beta1.example.com g -o name",
        expect![[r#"
        gadget.example.com/g
        stderr: Warning: example.com/v1beta1 Gadget goes; use v1
    "#]],
    );
    cluster.check(
        "get gadgets.v1alpha1.example.com g -o name",
        expect![[r#"
        gadget.example.com/g
        stderr: Warning: example.com/v1alpha1 Gadget is deprecated; use example.com/v1 Gadget
    "#]],
    );
    cluster.check(
        "get gd g -o name",
        expect![[r#"
        gadget.example.com/g
    "#]],
    );
    cluster.check(
        "auth whoami",
        expect![[r#"
        ATTRIBUTE   VALUE
        Username    admin
        Groups      [system:masters system:authenticated]
    "#]],
    );
    cluster.check(
        "auth can-i --list",
        expect![[r#"
        Resources   Non-Resource URLs   Resource Names   Verbs
        *.*         []                  []               [*]
                    [*]                 []               [*]
    "#]],
    );
}

#[test]
fn objects_go_by_every_policy_and_are_waited_for() {
    let cluster = Cluster::start();
    for policy in ["foreground", "background", "orphan"] {
        cluster.apply(WIDGET);
        let deleted = cluster.run(&format!("delete widget a --cascade={policy}"));
        assert!(deleted.starts_with("widget.example.com \"a\" deleted"), "{policy}: {deleted}");
        assert_ne!(cluster.kubectl("get widget a").code, 0, "{policy}");
    }
    cluster.apply(WIDGET);
    cluster.run("patch widget a --type=merge -p '{\"metadata\":{\"finalizers\":[\"x.io/y\"]}}'");
    let mut waiting = cluster.start_kubectl("wait widget/a --for=delete --timeout=120s");
    cluster.run("delete widget a --wait=false");
    cluster.run("patch widget a --type=merge -p '{\"metadata\":{\"finalizers\":null}}'");
    assert_eq!(waiting.wait_for("widget"), "widget.example.com/a condition met");
    for name in ["one", "two"] {
        cluster.run(&format!("create configmap {name}"));
        cluster.run(&format!("label configmap {name} sweep={name}"));
    }
    cluster.run("delete configmaps -l sweep=one");
    cluster.check(
        "get configmaps -o name",
        expect![[r#"
        configmap/two
    "#]],
    );
    cluster.run("delete configmaps --all");
    cluster.check(
        "get configmaps",
        expect![[r#"
        stderr: No resources found in default namespace.
    "#]],
    );
    cluster.check("delete namespace default", expect![[r#"
        stderr: Error from server (Forbidden): namespaces "default" is forbidden: this namespace may not be deleted
        exit code 1
    "#]]);
}
