//! Reading with `kubectl`.

use expect_test::expect;

use super::cluster::Cluster;

const WIDGET: &str = "
apiVersion: example.com/v1
kind: Widget
metadata:
  name: a
  labels: {team: x}
spec:
  size: 3
  parts: [{name: p}]
";

#[test]
fn resources_are_discovered() {
    let cluster = Cluster::start();
    cluster.check("api-resources", expect![[r#"
        NAME                        SHORTNAMES           APIVERSION                    NAMESPACED   KIND
        configmaps                  cm                   v1                            true         ConfigMap
        events                      ev                   v1                            true         Event
        namespaces                  ns                   v1                            false        Namespace
        secrets                                          v1                            true         Secret
        serviceaccounts             sa                   v1                            true         ServiceAccount
        customresourcedefinitions   crd,crds             apiextensions.k8s.io/v1       false        CustomResourceDefinition
        selfsubjectreviews                               authentication.k8s.io/v1      false        SelfSubjectReview
        selfsubjectaccessreviews                         authorization.k8s.io/v1       false        SelfSubjectAccessReview
        selfsubjectrulesreviews                          authorization.k8s.io/v1       false        SelfSubjectRulesReview
        events                      ev                   events.k8s.io/v1              true         Event
        widgets                                          example.com/v1                true         Widget
        imagepolicies               imgpol,imagepol      image.toolkit.fluxcd.io/v1    true         ImagePolicy
        imagerepositories           imgrepo,imagerepo    image.toolkit.fluxcd.io/v1    true         ImageRepository
        imageupdateautomations      iua,imgupd,imgauto   image.toolkit.fluxcd.io/v1    true         ImageUpdateAutomation
        gitrepositories             gitrepo              source.toolkit.fluxcd.io/v1   true         GitRepository
    "#]]);
    cluster.check(
        "api-versions",
        expect![[r#"
            apiextensions.k8s.io/v1
            authentication.k8s.io/v1
            authorization.k8s.io/v1
            events.k8s.io/v1
            example.com/v1
            image.toolkit.fluxcd.io/v1
            source.toolkit.fluxcd.io/v1
            v1
        "#]],
    );
    cluster.check("api-resources --api-group=example.com -o wide", expect![[r#"
        NAME      SHORTNAMES   APIVERSION       NAMESPACED   KIND     VERBS                                                        CATEGORIES
        widgets                example.com/v1   true         Widget   create,delete,deletecollection,get,list,patch,update,watch
    "#]]);
    let version = cluster.run("version");
    assert!(version.contains("v1.35.0"), "{version}");
}

#[test]
fn objects_are_shown() {
    let cluster = Cluster::start();
    cluster.check(
        "get widgets",
        expect![[r#"
        stderr: No resources found in default namespace.
    "#]],
    );
    cluster.apply(WIDGET);
    cluster.check(
        "get widgets",
        expect![[r#"
        NAME   AGE
        a      AGE
    "#]],
    );
    cluster.check(
        "get widgets -A -o wide",
        expect![[r#"
        NAMESPACE   NAME   AGE
        default     a      AGE
    "#]],
    );
    cluster.check("get widget a -o yaml --show-managed-fields", expect![[r#"
        apiVersion: example.com/v1
        kind: Widget
        metadata:
          annotations:
            kubectl.kubernetes.io/last-applied-configuration: |
              {"apiVersion":"example.com/v1","kind":"Widget","metadata":{"annotations":{},"labels":{"team":"x"},"name":"a","namespace":"default"},"spec":{"parts":[{"name":"p"}],"size":3}}
          creationTimestamp: "TIME"
          generation: 1
          labels:
            team: x
          managedFields:
          - apiVersion: example.com/v1
            fieldsType: FieldsV1
            fieldsV1:
              f:metadata:
                f:annotations:
                  .: {}
                  f:kubectl.kubernetes.io/last-applied-configuration: {}
                f:labels:
                  .: {}
                  f:team: {}
              f:spec:
                .: {}
                f:color: {}
                f:parts: {}
                f:size: {}
            manager: kubectl-client-side-apply
            operation: Update
            time: "TIME"
          name: a
          namespace: default
          resourceVersion: N
          uid: UID
        spec:
          color: red
          parts:
          - kind: plain
            name: p
          size: 3
        status:
          observed: -1
    "#]]);
    cluster.check("get widget a -o 'jsonpath={.spec.size}'", expect!["3"]);
    cluster.check(
        "get widgets -o name",
        expect![[r#"
        widget.example.com/a
    "#]],
    );
    cluster.check(
        "get widgets -l team=x --show-labels",
        expect![[r#"
        NAME   AGE   LABELS
        a      AGE    team=x
    "#]],
    );
    cluster.check(
        "get widgets -l team!=x",
        expect![[r#"
        stderr: No resources found in default namespace.
    "#]],
    );
    cluster.check(
        "get widget b",
        expect![[r#"
        stderr: Error from server (NotFound): widgets.example.com "b" not found
        exit code 1
    "#]],
    );
    cluster.check(
        "get gadgets",
        expect![[r#"
        stderr: error: the server doesn't have a resource type "gadgets"
        exit code 1
    "#]],
    );
    cluster.check(
        "describe widget a",
        expect![[r#"
        Name:         a
        Namespace:    default
        Labels:       team=x
        Annotations:  <none>
        API Version:  example.com/v1
        Kind:         Widget
        Metadata:
          Creation Timestamp:  TIME
          Generation:          1
          Resource Version:    N
          UID:                 UID
        Spec:
          Color:  red
          Parts:
            Kind:  plain
            Name:  p
          Size:    3
        Status:
          Observed:  -1
        Events:      <none>
    "#]],
    );
    cluster.check("get ns,crd", expect![[r#"
        NAME                STATUS   AGE
        namespace/default   Active   AGE

        NAME                                                                                           CREATED AT
        customresourcedefinition.apiextensions.k8s.io/gitrepositories.source.toolkit.fluxcd.io         TIME
        customresourcedefinition.apiextensions.k8s.io/imagepolicies.image.toolkit.fluxcd.io            TIME
        customresourcedefinition.apiextensions.k8s.io/imagerepositories.image.toolkit.fluxcd.io        TIME
        customresourcedefinition.apiextensions.k8s.io/imageupdateautomations.image.toolkit.fluxcd.io   TIME
        customresourcedefinition.apiextensions.k8s.io/widgets.example.com                              TIME
    "#]]);
    cluster.check(
        "get imagerepositories,imgpol,iua,gitrepo -A",
        expect![[r#"
        stderr: No resources found
    "#]],
    );
}

#[test]
fn events_are_shown_with_what_they_are_about() {
    let cluster = Cluster::start();
    cluster.apply(WIDGET);
    let uid = cluster.run("get widget a -o 'jsonpath={.metadata.uid}'");
    cluster.kubectl_with("create -f -", &format!("
apiVersion: v1
kind: Event
metadata: {{name: a.1, namespace: default}}
involvedObject: {{apiVersion: example.com/v1, kind: Widget, name: a, namespace: default, uid: {uid}}}
reason: Broken
message: it broke
type: Warning
count: 3
firstTimestamp: '1970-01-01T00:00:00Z'
lastTimestamp: '1970-01-01T00:00:00Z'
source: {{component: maker}}
"));
    cluster.check(
        "describe widget a",
        expect![[r#"
            Name:         a
            Namespace:    default
            Labels:       team=x
            Annotations:  <none>
            API Version:  example.com/v1
            Kind:         Widget
            Metadata:
              Creation Timestamp:  TIME
              Generation:          1
              Resource Version:    N
              UID:                 UID
            Spec:
              Color:  red
              Parts:
                Kind:  plain
                Name:  p
              Size:    3
            Status:
              Observed:  -1
            Events:
              Type     Reason  Age                From   Message
              ----     ------  ----               ----   -------
              Warning  Broken  AGE (x3 over AGE)  maker  it broke
        "#]],
    );
    cluster.check(
        "events",
        expect![[r#"
            LAST SEEN           TYPE      REASON   OBJECT     MESSAGE
            AGE (x3 over AGE)   Warning   Broken   Widget/a   it broke
        "#]],
    );
    cluster.check("get events -o wide", expect![[r#"
        LAST SEEN   TYPE      REASON   OBJECT     SUBOBJECT   SOURCE   MESSAGE    FIRST SEEN   COUNT   NAME
        AGE         Warning   Broken   widget/a               maker    it broke   AGE          3       a.1
    "#]]);
    cluster.check(
        "get events --field-selector type=Normal",
        expect![[r#"
        stderr: No resources found in default namespace.
    "#]],
    );
}

#[test]
fn kinds_are_explained() {
    let cluster = Cluster::start();
    // How the page is set differs between clients.
    for (what, line) in [
        ("widget.spec", "  size\t<integer> -required-"),
        ("widget.spec", "  parts\t<[]Object>"),
        ("imagepolicy.spec.policy", "  semver\t<Object>"),
        ("secret", "  data\t<map[string]string>"),
        ("crd.spec.versions.additionalPrinterColumns", "  jsonPath\t<string> -required-"),
        ("widget.metadata.labels", "    Pairs by which objects are selected."),
    ] {
        let page = cluster.run(&format!("explain {what}"));
        assert!(page.lines().any(|found| found == line), "{line:?} is not in {page}");
    }
}

#[test]
fn a_watch_tells_changes_as_they_happen() {
    let cluster = Cluster::start();
    let mut watch = cluster.start_kubectl("get widgets -w");
    cluster.apply(WIDGET);
    expect!["NAME   AGE"].assert_eq(&watch.wait_for("NAME"));
    expect!["a      AGE"].assert_eq(&watch.wait_for("a "));
    cluster.run("label widget a team=y --overwrite");
    watch.wait_for("a ");
    cluster.run("delete widget a");
}

#[test]
fn a_wrong_token_opens_nothing() {
    let cluster = Cluster::start();
    cluster.use_token("another");
    let run = cluster.kubectl("get widgets");
    let last = run.stderr.lines().last();
    assert_eq!(run.code, 1);
    assert_eq!(
        last,
        Some(
            "error: You must be logged in to the server (the server has asked for the client to provide credentials)"
        )
    );
}
