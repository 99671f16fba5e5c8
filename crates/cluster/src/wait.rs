//! Waiting until a controller has done what was asked, as kstatus tells it.

use std::time::Duration;

use api::Kind;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::error::{Error, Unready};
use crate::kstatus::{self, Status};

/// How often an object is looked at.
const POLL: Duration = Duration::from_secs(2);

impl Cluster {
    /// Waits until an object was reconciled in its latest generation, and returns it.
    pub async fn wait_ready(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        timeout: Duration,
    ) -> Result<DynamicObject, Unready> {
        self.poll(kind, namespace, name, timeout, is_observed).await
    }

    /// Waits until a request to reconcile was handled and its work is done, and returns the object.
    ///
    /// `before` is `status.lastHandledReconcileAt` before the request.
    pub async fn wait_handled(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        before: &str,
        timeout: Duration,
    ) -> Result<DynamicObject, Unready> {
        self.poll(kind, namespace, name, timeout, |object| last_handled(object) != before).await
    }

    async fn poll(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        timeout: Duration,
        is_told: impl Fn(&Value) -> bool,
    ) -> Result<DynamicObject, Unready> {
        let looking = async {
            loop {
                let object = self.get(kind, namespace, name).await?;
                let value = serde_json::to_value(&object)
                    .map_err(|error| Error::Request(kube::Error::SerdeError(error)))?;
                match kstatus::compute(&value) {
                    _ if !is_told(&value) => {}
                    Status::Current => return Ok(object),
                    Status::InProgress(_) => {}
                    Status::Failed(message) => return Err(Unready::Failed(message)),
                    Status::Terminating => {
                        return Err(Unready::Failed("Resource scheduled for deletion".to_owned()));
                    }
                }
                self.clock.sleep(POLL).await;
            }
        };
        self.clock.timeout(timeout, looking).await.unwrap_or(Err(Unready::Deadline))
    }
}

/// Returns the last request to reconcile that was handled; empty if there was none.
pub(crate) fn last_handled(object: &Value) -> &str {
    object["status"]["lastHandledReconcileAt"].as_str().unwrap_or_default()
}

/// Whether Ready speaks of the latest generation: by its own word, else by the status's.
fn is_observed(object: &Value) -> bool {
    let status = &object["status"];
    let observed = status["observedGeneration"].as_i64().unwrap_or(0);
    let Some(ready) = kstatus::condition(object, "Ready").filter(|_| observed >= 1) else {
        return false;
    };
    let of_condition = ready["observedGeneration"].as_i64().filter(|generation| *generation != 0);
    object["metadata"]["generation"].as_i64() == Some(of_condition.unwrap_or(observed))
}
