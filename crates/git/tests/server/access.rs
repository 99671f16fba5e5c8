//! Credentials, certificates, redirects, and what is said when they do not do.

use std::{error::Error, time::Duration};

use auth::{GitAuth, GitCredential};
use git::{Access, GitError, Limits, Reference};
use net::Secret;
use testkit::{Fault, GitAccess, GitServer, GitServerOptions, PASSWORD, TOKEN, USERNAME};

use crate::world::{World, marked};

fn world(access: GitAccess) -> World {
    let server = GitServer::start_with(&GitServerOptions { access, tls: None });
    server.create_repository("app", &[("a.yaml", marked("a", "1"))]);
    World::on(server, Limits::default())
}

fn basic(password: &str) -> GitCredential {
    let password = Secret::new(password.to_owned());
    GitCredential::Basic { username: USERNAME.to_owned(), password }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

async fn resolve(world: &World) -> Result<(), GitError> {
    let main = Reference::branch("main").expect("valid");
    world.mirror().resolve(&main, &world.access).await.map(|_| ())
}

#[tokio::test]
async fn basic_and_bearer_credentials_are_sent() {
    let mut basic_world = world(GitAccess::Basic);
    basic_world.access.auth.credential = basic(PASSWORD);
    basic_world.set("main", "a", "2").await.expect("let in").pushed.expect("a value differs");
    let mut bearer = world(GitAccess::Bearer);
    bearer.access.auth.credential = GitCredential::Bearer(Secret::new(TOKEN.to_owned()));
    bearer.set("main", "a", "2").await.expect("let in").pushed.expect("a value differs");
}

#[tokio::test]
async fn wrong_credentials_are_said_without_saying_them() {
    let mut world = world(GitAccess::Basic);
    world.access.auth.credential = basic("canary-4711");
    let error = resolve(&world).await.expect_err("refused");
    assert!(error.is_authentication());
    let url = world.mirror().url().to_string();
    assert_eq!(chain(&error), format!("unable to clone '{url}': authentication required"));
    for (status, text) in [
        ("403 Forbidden", "authorization failed"),
        ("404 Not Found", "repository not found"),
        ("500 Oops", "the server answered with status 500"),
    ] {
        world.proxy.clear();
        world.proxy.inject(|_| true, Fault::reply(status, &[], "canary-4711"));
        let error = resolve(&world).await.expect_err("refused");
        assert_eq!(chain(&error), format!("unable to clone '{url}': {text}"));
    }
}

#[tokio::test]
async fn the_urls_userinfo_counts_where_nothing_else_is_given() {
    let world = world(GitAccess::Basic);
    let mut url = world.proxy.url(&world.server.url("app"));
    url.set_username(USERNAME).expect("a host");
    url.set_password(Some(PASSWORD)).expect("a host");
    let url: git::RemoteUrl = url.as_str().parse().expect("valid");
    assert!(!url.to_string().contains(PASSWORD) && !format!("{url:?}").contains(PASSWORD));
    let main = Reference::branch("main").expect("valid");
    world.mirrors.mirror(&url, "").resolve(&main, &world.access).await.expect("let in");
}

#[tokio::test]
async fn a_ca_of_the_secret_is_trusted() {
    let tls = testkit::Tls::generate();
    let options = GitServerOptions { access: GitAccess::Anonymous, tls: Some(tls.clone()) };
    let server = GitServer::start_with(&options);
    server.create_repository("app", &[("a.yaml", marked("a", "1"))]);
    let url = server.url("app");
    let mut world = World::on(server, Limits::default());
    let url: git::RemoteUrl = url.as_str().parse().expect("valid");
    let main = Reference::branch("main").expect("valid");
    let mirror = world.mirrors.mirror(&url, "");
    mirror.resolve(&main, &world.access).await.expect_err("nobody vouches for it");
    let ca = Some(net::Pem::new(tls.ca.clone().into_bytes()));
    let auth = GitAuth { tls: net::Tls { ca, identity: None }, ..GitAuth::default() };
    world.access = Access { auth, ..Access::anonymous(Duration::from_secs(10)) };
    mirror.resolve(&main, &world.access).await.expect("its CA vouches for it");
}

#[tokio::test]
async fn a_redirect_to_another_origin_does_not_get_the_credentials() {
    let mut world = world(GitAccess::Anonymous);
    world.access.auth.credential = basic("canary-4711");
    let other = testkit::FaultProxy::start(world.server.address());
    let location = format!(
        "Location: {}/info/refs?service=git-upload-pack",
        other.url(&world.server.url("app"))
    );
    world.proxy.inject(|_| true, Fault::reply("302 Found", &[&location], ""));
    resolve(&world).await.expect("the other host lets everyone in");
    let seen = other.seen();
    assert_eq!(seen.len(), 2, "listing follows the advertisement to where that was");
    for request in seen {
        assert!(!request.head.to_lowercase().contains("authorization"), "{}", request.head);
    }
}

#[tokio::test]
async fn hooks_that_echo_credentials_are_masked() {
    let mut world = world(GitAccess::Basic);
    world.access.auth.credential = basic(PASSWORD);
    let hook = format!("#!/bin/sh\necho 'you said {PASSWORD}' >&2\nexit 1\n");
    world.server.repositories().set_pre_receive("app", &hook);
    let error = world.set("main", "a", "2").await.expect_err("refused");
    assert!(error.to_string().contains("you said ****"), "{error}");
}

#[tokio::test]
async fn pages_that_are_not_git_are_told_so() {
    let world = world(GitAccess::Anonymous);
    world.proxy.inject(|_| true, Fault::reply("200 OK", &["Content-Type: text/html"], "<html>"));
    let error = resolve(&world).await.expect_err("a page");
    assert!(chain(&error).contains("does not answer with Git's smart HTTP protocol"), "{error}");
}
