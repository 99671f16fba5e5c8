//! A world answers without a socket, under a clock that stands still.

use std::time::Duration;

use testkit::World;

#[tokio::test(start_paused = true)]
async fn time_passes_without_being_waited_for() {
    let world = World::new();
    let (start, begin) = (world.clock.now(), std::time::Instant::now());
    world.clock.sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.clock.now().as_second() - start.as_second(), 3600);
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn registry_and_git_host_are_reached_through_net() {
    let world = World::new();
    world.registry.push("app", "1.0.0");
    world.create_repository("org/repo", "dev", &[("a.yaml", "a: 1\n")]);
    let tip = world.commit_as_human("org/repo", "dev", &[("a.yaml", "a: 2\n")]);
    assert_eq!(world.git_host.tip("org/repo", "dev"), Some(tip.clone()));

    let tags = format!("https://{}/v2/app/tags/list", world.registry_host());
    assert_eq!(get(&world, &tags).await, r#"{"name":"app","tags":["1.0.0"]}"#);
    let refs = format!("{}/info/refs?service=git-receive-pack", world.git_url("org/repo"));
    assert!(get(&world, &refs).await.contains(&format!("{tip} refs/heads/dev")));
}

#[tokio::test(start_paused = true)]
async fn the_api_knows_our_kinds() {
    let world = World::new();
    let policies: kube::Api<api::image::ImagePolicy> = kube::Api::all(world.kube());
    let list = policies.list(&kube::api::ListParams::default()).await.expect("an answer");
    assert_eq!(list.items.len(), 0);
}

async fn get(world: &World, url: &str) -> String {
    let request = net::Request::new(http::Method::GET, url.parse().expect("a URL"));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let response =
        world.net.send(request, &net::Route::default(), deadline).await.expect("an answer");
    let body = response.bytes(1 << 20).await.expect("a body");
    String::from_utf8_lossy(&body).into_owned()
}
