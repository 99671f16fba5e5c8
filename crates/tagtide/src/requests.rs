//! Counts what the reconcilers ask of the API, under client-go's name.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use controllers::metrics::Text;
use parking_lot::Mutex;

/// The API is in this process: it has no address of its own.
const HOST: &str = "embedded";

/// Answers so far, by method and code. All clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Mutex<BTreeMap<(String, u16), u64>>>);

impl Requests {
    /// Returns `api` with every request to it counted.
    pub(crate) fn counting(&self, api: Router) -> Router {
        api.layer(middleware::from_fn_with_state(self.clone(), count))
    }

    /// Adds what was counted.
    pub(crate) fn tell(&self, text: &mut Text) {
        let name = "rest_client_requests_total";
        let help = "Number of HTTP requests, partitioned by status code, method, and host.";
        text.family(name, "counter", help);
        for ((method, code), n) in &*self.0.lock() {
            let code = code.to_string();
            text.count(name, &[("code", &code), ("host", HOST), ("method", method)], *n);
        }
    }
}

async fn count(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let method = request.method().as_str().to_owned();
    let response = next.run(request).await;
    let mut counts = requests.0.lock();
    *counts.entry((method, response.status().as_u16())).or_default() += 1;
    drop(counts);
    response
}
