//! Eleven things that Flux's controllers were seen to do wrong, and that happen nowhere here.

use std::fmt::Write as _;

use testkit::{Fault, FaultProxy, HttpServer, RequestKind};

use crate::world::{APP, BOT, FLEET, SOURCE, World, app, automation, choice, image, policy_of};

#[test]
fn a_changed_list_with_the_same_adler_checksum_is_noticed() {
    assert_eq!(adler32(br#"["1.3.0"]"#), adler32(br#"["2.1.1"]"#));
    let world = World::with_app(&["1.3.0"]);
    world.manifest("app", &choice("app", "alphabetical: {order: asc}"));
    world.run_kept().exited(0);
    assert_eq!(world.value("main"), "1.3.0");
    world.push("app", &["2.1.1"]);
    world.registry.delete_tag("app", "1.3.0");
    world.run_kept().exited(0);
    assert_eq!(world.value("main"), "2.1.1");
    world.check(&[("app", "1.3.0"), ("app", "2.1.1")]);
}

#[test]
fn numbers_beyond_float64_are_ordered_exactly() {
    let world = World::with_app(&["9007199254740992", "9007199254740993", "20260101120000001"]);
    world.push("app", &["20260101120000002"]);
    world.manifest("app", &choice("app", "numerical: {order: asc}"));
    world.run().exited(0);
    assert_eq!(world.value("main"), "20260101120000002");
    world.manifest("app", &choice("app", "numerical: {order: desc}"));
    world.git.commit_as_human(FLEET, "main", &[(APP, app("app", "1.0.0"))]);
    world.run().exited(0);
    assert_eq!(world.value("main"), "9007199254740992");
}

#[test]
fn infinity_never_wins_and_no_number_is_named() {
    let world = World::with_app(&["1", "2", "Inf", "0x20", "nan"]);
    world.manifest("app", &choice("app", "numerical: {order: asc}"));
    let ran = world.run().exited(1);
    let (_, _, message) = ran.object("ImagePolicy", "app");
    for offender in ["Inf", "0x20", "nan"] {
        assert!(message.contains(offender), "{message}");
    }
    assert_eq!(world.value("main"), "1.0.0");
    // A tag that is no number is left out by a filter, as in Flux.
    let filtered =
        choice("app", "numerical: {order: asc}") + "  filterTags: {pattern: '^[0-9]+$'}\n";
    world.manifest("app", &filtered);
    world.run().exited(0);
    assert_eq!(world.value("main"), "2");
}

#[test]
fn a_human_commit_on_the_push_branch_is_kept() {
    let world = World::with_app(&["1.1.0"]);
    world.manifest("automation", &automation("app", "{branch: updates}"));
    world.run().exited(0);
    world.push("app", &["1.2.0"]);
    // The server takes its time over the push, and somebody else is there first.
    let mut human = None;
    let (sender, receiver) = std::sync::mpsc::channel();
    world.git.before(RequestKind::Push, move |repositories, _| {
        if human.is_none() {
            let commit = repositories.commit_as_human(FLEET, "updates", &[("notes.md", "mine\n")]);
            drop(sender.send(commit.clone()));
            human = Some(commit);
        }
    });
    let ran = world.run().exited(0);
    let human = receiver.recv().expect("the program pushed");
    assert_eq!(world.git.git(FLEET, &["rev-parse", "updates~1"]).trim_end(), human);
    assert_eq!(world.value("updates"), "1.2.0");
    assert_eq!(world.authors("updates"), [BOT, "Human", BOT, "Human"]);
    assert_eq!(ran.n_commits(), 1);
    world.check(&[("app", "1.1.0"), ("app", "1.2.0")]);
}

#[test]
fn twenty_five_ways_to_format_a_file_stay_as_they_are() {
    let variants = variants();
    assert_eq!(variants.len(), 25);
    let path = |name: &str| format!("apps/{name}.yaml");
    let files: Vec<(String, String)> =
        variants.iter().map(|(name, text)| (path(name), text.replace("VALUE", "1.0.0"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    let world = World::with_files(&files);
    world.push("app", &["1.1.0"]);
    world.manifest("source", SOURCE);
    world.manifest("app", &choice("app", "semver: {range: '>=1.0.0'}"));
    world.manifest("automation", &automation("app", ""));
    let ran = world.run().exited(0);
    assert_eq!(ran.problems(), [""; 0]);
    for (name, text) in &variants {
        let expected = text.replace("VALUE", "1.1.0");
        assert_eq!(world.file("main", &path(name)), expected, "{name}");
    }
    assert_eq!(world.n_bot("main"), 1);
}

#[test]
fn a_marked_file_that_does_not_parse_is_reported_with_its_line() {
    let world = World::with_app(&["1.1.0"]);
    let broken = "a: 1\nb: [1\nc: 2 # {\"$imagepolicy\": \"flux-system:app:tag\"}\n";
    world.git.commit_as_human(FLEET, "main", &[("apps/broken.yaml", broken)]);
    let ran = world.run().exited(0);
    assert_eq!(ran.problems(), ["apps/broken.yaml:3 Unreadable"]);
    assert!(ran.stderr.contains("MarkersIgnored: apps/broken.yaml:3:"), "{}", ran.stderr);
    assert_eq!(world.value("main"), "1.1.0");
    assert_eq!(world.file("main", "apps/broken.yaml"), broken);
    world.check(&[("app", "1.1.0")]);
}

#[test]
fn a_lost_page_of_a_listing_is_no_downgrade() {
    let world = World::with_app(&[]);
    // Debian's registry answers in one page; this one has the three that it takes.
    let options = sandbox::RegistryOptions { page_size: 100, ..Default::default() };
    let registry = sandbox::Registry::with(options);
    for n in 0..300 {
        registry.push("app", &format!("1.{}.{}", n / 10, n % 10));
    }
    let server = HttpServer::start(registry.router(), None);
    let pages = FaultProxy::start(server.address());
    let paged = choice("app", "semver: {range: '>=1.0.0'}").replace("REGISTRY", &pages.host());
    world.manifest("app", &paged);
    world.run_kept().exited(0);
    assert_eq!(world.value("main"), "1.29.9");
    let is_list = |seen: &testkit::Seen| seen.target.contains("/tags/list");
    assert_eq!(pages.seen().iter().filter(|seen| is_list(seen)).count(), 3);

    pages.inject(is_list, Fault::rewrite_reply("link: ", "lost: "));
    // With a kept choice, and with nothing but the markers to go by.
    for ran in [world.run_kept(), world.run()] {
        let ran = ran.exited(0);
        assert!(ran.stderr.contains("1.29.9"), "{}", ran.stderr);
        assert!(ran.stderr.contains("Held"), "{}", ran.stderr);
        assert_eq!(world.value("main"), "1.29.9");
    }
    assert_eq!(world.n_bot("main"), 1);
}

#[test]
fn no_marker_is_silent() {
    let world = World::with_app(&["1.1.0"]);
    let marker = |setter: &str| format!("# {{\"$imagepolicy\": \"flux-system:{setter}\"}}");
    let tag = marker("app:tag");
    let files = [
        ("apps/unknown.yaml", format!("a: 1\ntag: 1.0.0 {}\n", marker("nobody:tag"))),
        ("apps/suffix.yaml", format!("a: 1\ntag: 1.0.0 {}\n", marker("app:tga"))),
        ("apps/above.yaml", format!("a: 1\n{tag}\ntag: 1.0.0\n")),
        (
            "apps/list.yaml",
            format!("kind: List\nitems:\n- kind: A\n  spec:\n    tag: 1.0.0 {tag}\n"),
        ),
    ];
    world.git.commit_as_human(FLEET, "main", &files);
    let ran = world.run().exited(0);
    assert_eq!(
        ran.problems(),
        [
            "apps/above.yaml:2 Misplaced",
            "apps/suffix.yaml:2 Setter",
            "apps/unknown.yaml:2 UnknownPolicy"
        ]
    );
    for file in ["above", "suffix", "unknown"] {
        assert!(ran.stderr.contains(&format!("apps/{file}.yaml:2:")), "{}", ran.stderr);
    }
    assert_eq!(world.file("main", files[3].0), files[3].1.replace("1.0.0", "1.1.0"));
    world.check(&[("app", "1.1.0")]);
}

#[test]
fn a_deleted_winner_is_held() {
    let world = World::with_app(&["1.1.0", "1.2.0"]);
    world.run_kept().exited(0);
    world.registry.delete_tag("app", "1.2.0");
    for ran in [world.run_kept(), world.run(), world.run_kept()] {
        let ran = ran.exited(0);
        assert!(ran.object("ImagePolicy", "app").0);
        assert!(ran.stderr.contains("Held"), "{}", ran.stderr);
        assert!(ran.stderr.contains("allow-older"), "{}", ran.stderr);
        assert_eq!(world.value("main"), "1.2.0");
    }
    // Whoever wants the older one says so.
    let policy = policy_of("app", "app", "semver: {range: '>=0.0.0'}");
    let policy = policy.replace(
        "namespace: flux-system}",
        "namespace: flux-system, annotations: {tagtide.dev/allow-older: 1.1.0}}",
    );
    world.manifest("app", &(image("app", "app", "") + &policy));
    let ran = world.run_kept().exited(0);
    assert!(!ran.stderr.contains("Held"), "{}", ran.stderr);
    assert_eq!(world.value("main"), "1.1.0");
    world.check(&[("app", "1.1.0"), ("app", "1.2.0")]);
}

#[test]
fn two_repositories_of_one_image_exclude_each_for_itself() {
    let world = World::with_files(&[
        (APP, &app("app", "1.0.0")),
        ("apps/other.yaml", &app("other", "1.0.0")),
    ]);
    world.push("app", &["1.1.0", "1.2.0-rc.1", "1.2.0"]);
    let any = "semver: {range: '>=1.0.0-0'}";
    let excluding = image("other", "app", "  exclusionList: ['^1\\.2\\.0']\n");
    world.manifest("source", SOURCE);
    world.manifest("app", &choice("app", any));
    world.manifest("other", &(excluding + &policy_of("other", "other", any)));
    world.manifest("automation", &automation("app", ""));
    for ran in [world.run(), world.run_kept(), world.run_kept()] {
        ran.exited(0);
        assert_eq!(world.file("main", APP), app("app", "1.2.0"));
        assert_eq!(world.file("main", "apps/other.yaml"), app("other", "1.1.0"));
    }
    assert_eq!(world.n_bot("main"), 1);
}

#[test]
fn a_tag_that_is_illegal_harms_only_its_own_policy() {
    let world = World::with_files(&[
        (APP, &app("app", "1.0.0")),
        ("apps/other.yaml", &app("other", "1.0.0")),
    ]);
    world.push("app", &["1.1.0"]);
    world.push("other", &["1.1.0", "1.2.0+build"]);
    let any = "semver: {range: '>=1.0.0'}";
    world.manifest("source", SOURCE);
    world.manifest("app", &choice("app", any));
    world.manifest("other", &choice("other", any));
    world.manifest("automation", &automation("app", ""));
    let ran = world.run().exited(1);
    assert_eq!(ran.failed(), ["ImagePolicy/other"]);
    let (_, _, message) = ran.object("ImagePolicy", "other");
    assert!(message.contains("1.2.0+build"), "{message}");
    assert_eq!(world.file("main", APP), app("app", "1.1.0"));
    assert_eq!(world.file("main", "apps/other.yaml"), app("other", "1.0.0"));
    world.check(&[("app", "1.1.0")]);
}

#[test]
fn a_policy_that_stops_matching_is_not_written() {
    let world = World::with_app(&["1.1.0"]);
    world.run_kept().exited(0);
    world.manifest("app", &choice("app", "semver: {range: '>=2.0.0'}"));
    world.git.commit_as_human(FLEET, "main", &[(APP, app("app", "0.9.0"))]);
    let ran = world.run_kept().exited(1);
    assert_eq!(ran.failed(), ["ImagePolicy/app"]);
    assert_eq!(world.value("main"), "0.9.0");
    assert_eq!(world.n_bot("main"), 1);
}

/// Returns files that say one thing in many ways; `VALUE` is what the policy sets.
fn variants() -> Vec<(&'static str, String)> {
    let marker = "# {\"$imagepolicy\": \"flux-system:app:tag\"}";
    let marked = format!("tag: VALUE {marker}\n");
    let after = |text: &str| format!("{text}{marked}");
    let nested = |indent: usize| {
        let pad = " ".repeat(indent);
        let mut text = "spec:\n".to_owned();
        write!(text, "{pad}app:\n{pad}{pad}{marked}").expect("strings take any text");
        text
    };
    vec![
        ("crlf", format!("a: 1\r\ntag: VALUE {marker}\r\nb: 2\r\n")),
        ("bom", after("\u{feff}a: 1\n")),
        ("indented_by_four", nested(4)),
        ("indented_by_three", nested(3)),
        ("sequence_at_the_key", format!("list:\n- a\n-   tag: VALUE {marker}\n")),
        ("blank_lines", after("a: 1\n\n\n\n") + "\n\nb: 2\n"),
        (
            "columns_of_comments",
            format!("a: 1        # one\ntag: VALUE    {marker}\nbb: 2       # two\n"),
        ),
        ("document_end", after("a: 1\n") + "...\n"),
        ("document_of_comments", format!("# only words\n---\n{marked}---\n# and more\n")),
        ("escapes", after("a: \"\\u00e9\\x41\\t\\\n  b\"\n")),
        ("folded_scalar", after("a: >-\n  one\n  two\n\n\n  three\n")),
        ("literal_scalar", after("a: |+\n  one\n   two\n\n")),
        ("merge_keys", after("base: &base {x: 1}\na:\n  <<: *base\n  y: 2\n")),
        ("flow_spacing", after("a: {x:   1,y: [1,2 ,  3]}\n")),
        ("trailing_spaces", after("a: 1   \n")),
        ("no_last_line_end", format!("a: 1\ntag: VALUE {marker}")),
        ("quoted_twice", format!("tag: \"VALUE\"  {marker}\nb: 'x'\n")),
        ("quoted_once", format!("tag: 'VALUE' {marker}\nb: \"x\"\n")),
        ("tabs_before_comments", format!("a: 1\t# one\ntag: VALUE\t{marker}\n")),
        (
            "user_annotations",
            after(
                "metadata:\n  annotations:\n    config.kubernetes.io/index: '3'\n    internal.config.kubernetes.io/index: 'mine'\n",
            ),
        ),
        ("long_lines", after(&format!("a: {}\n", "word ".repeat(60).trim_end()))),
        ("numbers", after("a: 0o17\nb: 1_000\nc: 1.10\nd: 012\ne: yes\nf: ~\n")),
        ("several_documents", format!("---\na: 1\n---\n{marked}--- # third\nb: 2\n")),
        ("comments_at_both_ends", format!("# first\n\n{marked}\n# last\n")),
        ("explicit_key_and_tags", after("? a\n: !!str 1\nb: !custom {x: 1}\n")),
    ]
}

/// Returns the checksum that Flux names a listing by.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    (b << 16) | a
}
