//! What an object's own fields say of it, by the rules of kstatus.

use serde_json::Value;

/// The state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is as it was asked to be.
    Current,
    /// It is on its way; the message says how far.
    InProgress(String),
    /// It will not get there by itself; the message says why.
    Failed(String),
    /// It is being deleted.
    Terminating,
}

/// Returns the state of an object.
pub fn compute(object: &Value) -> Status {
    let metadata = &object["metadata"];
    if metadata["deletionTimestamp"].as_str().is_some_and(|time| !time.is_empty()) {
        return Status::Terminating;
    }
    let generation = metadata["generation"].as_i64();
    let observed = object["status"]["observedGeneration"].as_i64();
    if let (Some(generation), Some(observed)) = (generation, observed)
        && generation != observed
    {
        let kind = object["kind"].as_str().unwrap_or_default();
        return Status::InProgress(format!(
            "{kind} generation is {generation}, but latest observed generation is {observed}"
        ));
    }
    for condition in conditions(object) {
        match (text(condition, "type"), text(condition, "status")) {
            ("Reconciling", "True") => return Status::InProgress(message(condition)),
            ("Stalled", "True") => return Status::Failed(message(condition)),
            _ => {}
        }
    }
    if object["kind"] == "Deployment" && object["apiVersion"] == "apps/v1" {
        return deployment(object);
    }
    ready(object)
}

/// Returns the conditions of an object, whatever their types.
pub fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    object["status"]["conditions"].as_array().into_iter().flatten()
}

/// Returns the condition of this type, compared exactly.
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    conditions(object).find(|condition| condition["type"] == type_)
}

fn ready(object: &Value) -> Status {
    match condition(object, "Ready") {
        Some(ready) if matches!(text(ready, "status"), "False" | "Unknown") => {
            Status::InProgress(message(ready))
        }
        _ => Status::Current,
    }
}

fn deployment(object: &Value) -> Status {
    // Without a deadline the condition that tells of progress is never written.
    let mut is_progressing = object["spec"]["progressDeadlineSeconds"].is_null();
    let mut is_available = false;
    for condition in conditions(object) {
        let (status, reason) = (text(condition, "status"), text(condition, "reason"));
        match text(condition, "type") {
            "Progressing" if reason == "ProgressDeadlineExceeded" => {
                return Status::Failed("Progress deadline exceeded".to_owned());
            }
            "Progressing" => {
                is_progressing |= status == "True" && reason == "NewReplicaSetAvailable";
            }
            "Available" => is_available |= status == "True",
            _ => {}
        }
    }
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let count = |field: &str| object["status"][field].as_i64().unwrap_or(0);
    let (there, updated) = (count("replicas"), count("updatedReplicas"));
    let (ready, available) = (count("readyReplicas"), count("availableReplicas"));
    let message = match () {
        () if wanted > there => format!("Replicas: {there}/{wanted}"),
        () if wanted > updated => format!("Updated: {updated}/{wanted}"),
        () if there > wanted => format!("Pending termination: {}", there - wanted),
        () if updated > available => format!("Available: {available}/{updated}"),
        () if wanted > ready => format!("Ready: {ready}/{wanted}"),
        () if !is_progressing => "ReplicaSet not Available".to_owned(),
        () if !is_available => "Deployment not Available".to_owned(),
        () => return Status::Current,
    };
    Status::InProgress(message)
}

fn text<'a>(condition: &'a Value, field: &str) -> &'a str {
    condition[field].as_str().unwrap_or_default()
}

fn message(condition: &Value) -> String {
    text(condition, "message").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn progress(message: &str) -> Status {
        Status::InProgress(message.to_owned())
    }

    #[track_caller]
    fn check(mut object: Value, expected: Status) {
        object["kind"] = object["kind"].as_str().unwrap_or("ImagePolicy").into();
        assert_eq!(compute(&object), expected, "{object}");
    }

    #[test]
    fn an_object_that_says_nothing_is_current() {
        check(json!({}), Status::Current);
        check(json!({"status": {"conditions": "none"}}), Status::Current);
    }

    #[test]
    fn what_is_deleted_comes_before_all_else() {
        let metadata = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "generation": 2});
        check(
            json!({"metadata": metadata, "status": {"observedGeneration": 1}}),
            Status::Terminating,
        );
    }

    #[test]
    fn an_older_generation_is_in_progress() {
        check(
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}}),
            progress("ImagePolicy generation is 2, but latest observed generation is 1"),
        );
    }

    #[test]
    fn conditions_tell_the_state() {
        let with = |type_: &str, status: &str| {
            json!({"status": {"conditions": [
                {"type": type_, "status": status, "reason": "R", "message": "m"},
            ]}})
        };
        check(with("Ready", "True"), Status::Current);
        check(with("Ready", "False"), progress("m"));
        check(with("Ready", "Unknown"), progress("m"));
        check(with("Stalled", "True"), Status::Failed("m".to_owned()));
        check(with("Stalled", "False"), Status::Current);
        check(with("Reconciling", "True"), progress("m"));
    }

    #[test]
    fn a_deployment_is_current_when_its_replicas_are() {
        let deployment = |ready: i64, reason: &str| {
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "spec": {"replicas": 2, "progressDeadlineSeconds": 600},
                "status": {
                    "replicas": 2, "updatedReplicas": 2, "readyReplicas": ready,
                    "availableReplicas": ready,
                    "conditions": [
                        {"type": "Progressing", "status": "True", "reason": reason},
                        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
                    ],
                },
            })
        };
        check(deployment(2, "NewReplicaSetAvailable"), Status::Current);
        check(deployment(1, "NewReplicaSetAvailable"), progress("Available: 1/2"));
        check(deployment(2, "ReplicaSetUpdated"), progress("ReplicaSet not Available"));
        check(
            deployment(2, "ProgressDeadlineExceeded"),
            Status::Failed("Progress deadline exceeded".to_owned()),
        );
    }
}
