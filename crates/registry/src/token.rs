//! Tokens for registries: fetched once, shared until they expire.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use auth::Credential;
use net::{Route, Secret};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

/// Most tokens that are kept; those that expire first make room.
const TOKENS_MAX: usize = 10_000;

/// How long a token lives whose answer does not say, by the protocol.
const LIFE_DEFAULT: u64 = 60;

/// Longest time a token is used, whatever its answer says.
const LIFE_MAX: u64 = 3_600;

/// Longest answer of a token service.
pub(crate) const TOKEN_BODY_MAX: usize = 64 << 10;

/// What a token was asked for, where, and as whom.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    pub(crate) realm: Url,
    pub(crate) service: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) credential: Option<Credential>,
    pub(crate) route: Route,
}

/// A token and when to stop using it.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) text: Secret<String>,
    pub(crate) expires: Instant,
}

/// One place per key. Whoever holds it may fetch; the others wait and find
/// what it found.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// All tokens. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct TokenCache {
    slots: Arc<Mutex<HashMap<TokenKey, Slot>>>,
}

impl TokenCache {
    /// Returns the place for a token.
    pub(crate) fn slot(&self, key: &TokenKey) -> Slot {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(key) {
            return slot.clone();
        }
        if slots.len() >= TOKENS_MAX {
            let now = Instant::now();
            slots.retain(|_, slot| is_fresh(slot, now));
        }
        if slots.len() >= TOKENS_MAX {
            // All are fresh: giving them up costs one request each.
            slots.clear();
        }
        let slot = Slot::default();
        slots.insert(key.clone(), slot.clone());
        slot
    }
}

/// Says whether a slot is in use or holds a token that lives.
fn is_fresh(slot: &Slot, now: Instant) -> bool {
    match slot.try_lock() {
        Ok(token) => token.as_ref().is_some_and(|token| token.expires > now),
        Err(_) => true,
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

/// Reads a token service's answer; the error never quotes it.
pub(crate) fn read_answer(body: &[u8], now: Instant) -> Result<Token, &'static str> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| "the answer is not valid JSON")?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let text =
        given(answer.access_token).or(given(answer.token)).ok_or("no token in bearer response")?;
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the token holds characters that no token has");
    }
    let life = match answer.expires_in {
        Some(seconds) if seconds >= 1.0 => (seconds as u64).min(LIFE_MAX),
        _ => LIFE_DEFAULT,
    };
    // Clocks and networks are not exact: stop a little before the end.
    let margin = (life / 10).min(10);
    Ok(Token { text: Secret::new(text), expires: now + Duration::from_secs(life - margin) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_are_read() {
        let now = Instant::now();
        let check = |body: &str, expected: Result<(&str, u64), &str>| {
            let found = read_answer(body.as_bytes(), now);
            let found = found.map(|t| (t.text.expose().clone(), (t.expires - now).as_secs()));
            assert_eq!(
                found,
                expected.map(|(text, life)| (text.to_owned(), life)).map_err(|e| {
                    [
                        "the answer is not valid JSON",
                        "no token in bearer response",
                        "the token holds characters that no token has",
                    ]
                    .into_iter()
                    .find(|known| *known == e)
                    .expect("a known reason")
                }),
                "{body}"
            );
        };
        check(r#"{"token":"a"}"#, Ok(("a", 54)));
        check(r#"{"token":"a","access_token":"b","expires_in":300}"#, Ok(("b", 290)));
        check(r#"{"access_token":"b","expires_in":1e9}"#, Ok(("b", 3590)));
        check(r#"{"token":"a","expires_in":-5}"#, Ok(("a", 54)));
        check(r#"{"token":""}"#, Err("no token in bearer response"));
        check(r#"{"token":"a\r\nb"}"#, Err("the token holds characters that no token has"));
        check("<html>canary", Err("the answer is not valid JSON"));
    }
}
