//! How a repository is reached: credentials, route, time.

use std::time::Duration;

use auth::{GitAuth, GitCredential};
use base64::{Engine, engine::general_purpose::STANDARD};
use net::{Route, Tls};

use crate::url::RemoteUrl;

/// How a repository is reached.
#[derive(Clone)]
pub struct Access {
    /// Who we are, whom we trust.
    pub auth: GitAuth,
    /// Proxy and addresses; its TLS material counts where `auth` has none.
    pub route: Route,
    /// How long reading (and, apart from it, pushing) may take.
    pub timeout: Duration,
}

impl Access {
    /// Returns an access without credentials, over the default route.
    pub fn anonymous(timeout: Duration) -> Access {
        Access { auth: GitAuth::default(), route: Route::default(), timeout }
    }

    /// Returns who we are to this URL: what its userinfo says if nothing else is given.
    pub(crate) fn credential_for(&self, url: &RemoteUrl) -> GitCredential {
        match (&self.auth.credential, url.userinfo()) {
            (GitCredential::Anonymous, Some(userinfo)) => GitCredential::Basic {
                username: userinfo.username.clone(),
                password: userinfo.password.clone(),
            },
            (credential, _) => credential.clone(),
        }
    }

    /// Returns the route with the TLS material that goes with the credential.
    pub(crate) fn route(&self) -> Route {
        let mut route = self.route.clone();
        if self.auth.tls != Tls::default() {
            route.tls = self.auth.tls.clone();
        }
        route
    }
}

/// Returns a text in which a credential does not occur.
pub(crate) fn scrub(credential: &GitCredential, text: &str) -> String {
    let mask = |text: &str, secret: &str| match secret {
        "" => text.to_owned(),
        secret => text.replace(secret, "****"),
    };
    match credential {
        GitCredential::Anonymous => text.to_owned(),
        GitCredential::Basic { username, password } => {
            let encoded = STANDARD.encode(format!("{username}:{}", password.expose()));
            mask(&mask(text, &encoded), password.expose())
        }
        GitCredential::Bearer(token) => mask(text, token.expose()),
    }
}

#[cfg(test)]
mod tests {
    use net::Secret;

    use super::*;

    #[test]
    fn credentials_are_masked_in_what_servers_say() {
        let password = Secret::new("hunter2".to_owned());
        let basic = GitCredential::Basic { username: "me".to_owned(), password };
        assert_eq!(scrub(&basic, "bad hunter2 in bWU6aHVudGVyMg=="), "bad **** in ****");
    }

    #[test]
    fn the_url_says_who_we_are_only_if_nothing_else_does() {
        let url: RemoteUrl = "https://a:b@h/r".parse().expect("valid");
        let mut access = Access::anonymous(Duration::from_secs(1));
        assert!(
            matches!(access.credential_for(&url), GitCredential::Basic { username, .. } if username == "a")
        );
        access.auth.credential = GitCredential::Bearer(Secret::new("t".to_owned()));
        assert!(matches!(access.credential_for(&url), GitCredential::Bearer(_)));
    }
}
