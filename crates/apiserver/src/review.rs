//! Questions about the one who asks: who it is, and what it may do.
//!
//! Whoever has the token may do everything, so the answers are always the same.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

/// A question that can be asked; it is nowhere kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Review {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) kind: &'static str,
    status: fn() -> Value,
}

/// Every question.
pub(crate) const REVIEWS: [Review; 3] = [
    Review {
        group: "authentication.k8s.io",
        version: "v1",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        kind: "SelfSubjectReview",
        status: || json!({"userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]}}),
    },
    Review {
        group: "authorization.k8s.io",
        version: "v1",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        kind: "SelfSubjectAccessReview",
        status: || json!({"allowed": true}),
    },
    Review {
        group: "authorization.k8s.io",
        version: "v1",
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        kind: "SelfSubjectRulesReview",
        status: || {
            json!({
                "incomplete": false,
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            })
        },
    },
];

impl Review {
    /// Returns the question that is asked at a path.
    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Review> {
        REVIEWS.iter().find(|review| {
            (review.group, review.version, review.plural) == (group, version, plural)
        })
    }

    /// Answers it.
    pub(crate) fn answer(&self, question: &Value) -> Response {
        let mut answer = json!({
            "apiVersion": format!("{}/{}", self.group, self.version),
            "kind": self.kind,
            "metadata": {},
            "status": (self.status)(),
        });
        if !question["spec"].is_null() {
            answer["spec"] = question["spec"].clone();
        }
        (StatusCode::CREATED, Json(answer)).into_response()
    }
}
