//! How credentials are found for an image.

use super::*;

/// Looks `registry/path` up in a config whose users are named by `auths`.
#[track_caller]
fn check(keys: &str, image: &str, expected: &str) {
    let auths: Vec<String> = keys
        .split(' ')
        .map(|key| format!("\"{key}\":{{\"username\":\"{key}\",\"password\":\"p\"}}"))
        .collect();
    let text = format!("{{\"auths\":{{{}}}}}", auths.join(","));
    let keychain = Keychain::from_config_json(text.as_bytes()).expect("a valid configuration");
    let (registry, path) = image.split_once('/').expect("an image with a path");
    let found = match keychain.lookup(registry, path) {
        Some(Credential::Basic { username, .. }) => username,
        Some(other) => format!("{other:?}"),
        None => "-".to_owned(),
    };
    assert_eq!(found, expected, "{keys} {image}");
}

#[test]
fn the_most_specific_key_wins() {
    check("gcr.io gcr.io/team gcr.io/team/app", "gcr.io/team/app", "gcr.io/team/app");
    check("gcr.io gcr.io/team", "gcr.io/team/x", "gcr.io/team");
    check("gcr.io gcr.io/team", "gcr.io/other", "gcr.io");
    check("quay.io gcr.io/team", "gcr.io/other", "-");
    check("quay.io", "notquay.io/x", "-");
}

#[test]
fn hosts_match_label_by_label() {
    check("*.example.com", "a.example.com/x", "*.example.com");
    check("*.example.com", "a.b.example.com/x", "-");
    check("*.example.com", "example.com/x", "-");
    check("reg*.example.com", "registry.example.com/x", "reg*.example.com");
    check("*stry.*.com", "registry.example.com/x", "*stry.*.com");
    check("a*b*c.example.com", "axxbyycbc.example.com/x", "a*b*c.example.com");
    check("a*b*c.example.com", "axxbyycb.example.com/x", "-");
    check("a*a.example.com", "a.example.com/x", "-");
    check("**.example.com", "a.example.com/x", "**.example.com");
    check("*", "localhost/x", "*");
    check("* *.example.com", "a.example.com/x", "*.example.com");
}

#[test]
fn ports_match_exactly() {
    check("example.com", "example.com:5000/x", "-");
    check("example.com:5000", "example.com:5000/x", "example.com:5000");
    check("example.com:5000", "example.com/x", "-");
    check("*.example.com:5000", "a.example.com:5000/x", "*.example.com:5000");
    check("[::1]:5000", "[::1]:5000/x", "[::1]:5000");
    check("[::1]:5000", "[::1]:5001/x", "-");
}

#[test]
fn scheme_and_api_version_do_not_count() {
    check(
        "https://index.docker.io/v1/",
        "index.docker.io/library/x",
        "https://index.docker.io/v1/",
    );
    check("http://h.example/v2/", "h.example/x", "http://h.example/v2/");
    check("https://h.example/v2/team", "h.example/team/x", "https://h.example/v2/team");
    check("h.example/", "h.example/x", "h.example/");
    check("h.example/v1", "h.example/x", "-");
    check("docker.io", "index.docker.io/library/x", "-");
}

#[test]
fn auth_is_base64_of_user_and_password() {
    let read = |auth: &str| {
        let text =
            format!("{{\"auths\":{{\"h\":{{\"auth\":\"{auth}\",\"username\":\"other\"}}}}}}");
        match Keychain::from_config_json(text.as_bytes()).map(|keychain| keychain.lookup("h", "x"))
        {
            Ok(Some(Credential::Basic { username, password })) => {
                format!("{username} {}", password.expose())
            }
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(read("dXNlcjpwYXNz"), "user pass");
    assert_eq!(read("dXNlcjpwYTpzcw=="), "user pa:ss");
    assert_eq!(read("dXNlcjpwYTpzcw"), "user pa:ss");
    assert_eq!(read("dXNl\\ncjpw\\nYXNz"), "user pass");
    assert_eq!(
        read("dXNlcg=="),
        "unable to decode auth field: must be formatted as base64(username:password)"
    );
    assert_eq!(read("dXN!"), "unable to decode auth field: illegal base64 data at input byte 3");
}

#[test]
fn tokens_come_before_passwords() {
    let read = |fields: &str| {
        let text = format!("{{\"h\":{{\"username\":\"u\",\"password\":\"p\"{fields}}}}}");
        Keychain::from_dockercfg(text.as_bytes()).expect("a valid configuration").lookup("h", "x")
    };
    let identity = Credential::IdentityToken(Secret::from("i"));
    let registry = Credential::RegistryToken(Secret::from("r"));
    let basic = Credential::Basic { username: "u".to_owned(), password: Secret::from("p") };
    assert_eq!(read(""), Some(basic));
    assert_eq!(read(",\"identitytoken\":\"i\""), Some(identity));
    assert_eq!(read(",\"identitytoken\":\"i\",\"registrytoken\":\"r\""), Some(registry));
}

#[test]
fn an_entry_without_credentials_is_anonymous() {
    let keychain = Keychain::from_config_json(
        b"{\"auths\":{\"h/team\":{},\"h\":{\"username\":\"u\"},\"n\":null}}",
    )
    .expect("a valid configuration");
    assert_eq!(keychain.lookup("h", "team/x"), None);
    assert_eq!(keychain.lookup("n", "x"), None);
    assert!(keychain.lookup("h", "x").is_some());
}

#[test]
fn among_equal_keys_the_earlier_secret_wins() {
    let of = |user: &str, host: &str| {
        let text = format!("{{\"{host}\":{{\"username\":\"{user}\"}}}}");
        Keychain::from_dockercfg(text.as_bytes()).expect("a valid configuration")
    };
    let merged =
        Keychain::merge(vec![of("first", "https://h/v1/"), of("second", "h"), of("third", "h/x")]);
    let user = |path: &str| match merged.lookup("h", path) {
        Some(Credential::Basic { username, .. }) => username,
        other => format!("{other:?}"),
    };
    assert_eq!(user("y"), "first");
    assert_eq!(user("x"), "third");
}

#[test]
fn secrets_of_other_types_are_ignored() {
    let data: BTreeMap<String, Vec<u8>> = [
        (".dockerconfigjson".to_owned(), b"{\"auths\":{\"a\":{\"username\":\"u\"}}}".to_vec()),
        (".dockercfg".to_owned(), b"{\"b\":{\"username\":\"u\"}}".to_vec()),
    ]
    .into();
    let hosts = |secret_type: &str| {
        let keychain = Keychain::from_secret(secret_type, &data).expect("a valid configuration");
        (keychain.lookup("a", "x").is_some(), keychain.lookup("b", "x").is_some())
    };
    assert_eq!(hosts(DOCKER_CONFIG_JSON), (true, false));
    assert_eq!(hosts(DOCKER_CONFIG), (false, true));
    assert_eq!(hosts("Opaque"), (false, false));
    let empty = Keychain::from_secret(DOCKER_CONFIG_JSON, &BTreeMap::new());
    assert_eq!(empty.map(|keychain| keychain.is_empty()), Ok(true));
}

#[test]
fn errors_never_quote_the_configuration() {
    let check = |text: &str, expected: &str| {
        let error = Keychain::from_config_json(text.as_bytes()).expect_err("wrong").to_string();
        assert_eq!(error, expected);
    };
    check(
        "{\"auths\":\"canary\"}",
        "docker configuration is not valid: unexpected type at line 1 column 17",
    );
    check(
        "{\"auths\":{\"h\":{\"password\":[\"canary\"]}}}",
        "docker configuration is not valid: unexpected type at line 1 column 26",
    );
    check("canary", "docker configuration is not valid: invalid JSON at line 1 column 1");
    check("{", "docker configuration is not valid: unexpected end at line 1 column 1");
    check(
        "{\"auths\":{\"h:x\":{}}}",
        "Entry \"https://h:x\" in dockercfg invalid (invalid port \":x\" after host)",
    );
    check(
        "{\"auths\":{\"a b\":{}}}",
        "Entry \"https://a b\" in dockercfg invalid (invalid character \" \" in host name)",
    );
}

#[test]
fn helper_programs_are_named_and_not_run() {
    let text = br#"{"auths":{"h":{"auth":"dTpw"}},"credsStore":"desktop","credHelpers":{"gcr.io":"gcloud"}}"#;
    let config = Keychain::from_user_config(text).expect("a valid configuration");
    assert_eq!(config.ignored_helpers, ["desktop", "gcloud (gcr.io)"]);
    assert!(config.keychain.lookup("h", "x").is_some());
}

#[test]
fn a_hostile_glob_ends_soon() {
    let glob = "*a".repeat(2_000);
    assert!(!glob_matches(&glob, &"a".repeat(1_999)));
    assert!(glob_matches(&glob, &"a".repeat(2_000)));
}
