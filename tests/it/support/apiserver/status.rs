//! Answers that are no success: `meta/v1 Status` with the codes and reasons that a real server gives.

use serde_json::{Value, json};

use super::resource::Target;

/// A failure, as a body of its own or as the object of an ERROR event.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) code: u16,
    /// Seconds, for the header `Retry-After`.
    pub(super) retry_after: Option<u32>,
    reason: &'static str,
    message: String,
    details: Value,
    /// `metadata.continue`: where a list whose token is expired may go on, inconsistently.
    resume: Option<String>,
}

impl Status {
    pub(super) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            retry_after: None,
            reason,
            message: message.into(),
            details: json!({}),
            resume: None,
        }
    }

    /// A failure known by its code alone, as fault injection asks for it.
    pub(super) fn of_code(code: u16, target: Option<&Target>) -> Self {
        let plural = target.map_or("", |target| target.resource.plural);
        let group = target.map_or("", |target| target.resource.group);
        let mut status = match code {
            400 => Self::new(
                code,
                "BadRequest",
                "the server could not understand the request",
            ),
            401 => Self::new(code, "Unauthorized", "Unauthorized"),
            403 => Self::new(
                code,
                "Forbidden",
                format!(
                    r#"{plural} is forbidden: User "lab" cannot list resource "{plural}" in API group "{group}""#
                ),
            ),
            404 => Self::new(
                code,
                "NotFound",
                "the server could not find the requested resource",
            ),
            410 => Self::new(code, "Expired", "too old resource version"),
            422 => Self::new(code, "Invalid", "the request is invalid"),
            429 => Self::new(
                code,
                "TooManyRequests",
                "Too many requests, please try again later.",
            ),
            500 => Self::new(
                code,
                "InternalError",
                "Internal error occurred: the fixture was told so",
            ),
            503 => Self::new(
                code,
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => Self::new(code, "Timeout", "the request did not complete in time"),
            other => Self::new(
                other,
                "Unknown",
                format!("the fixture was told to answer {other}"),
            ),
        };
        status.details = json!({ "kind": plural, "group": group });
        status
    }

    /// `resourceVersion` or a continue token from before the last compaction.
    pub(super) fn too_old(asked: u64, newest: u64) -> Self {
        Self::new(
            410,
            "Expired",
            format!("too old resource version: {asked} ({newest})"),
        )
    }

    /// The snapshot that a continue token names is gone; `resume` is a token for the rest of a newer one.
    pub(super) fn continue_expired(resume: String) -> Self {
        let message =
            "The provided continue parameter is too old to display a consistent list result.";
        Self {
            resume: Some(resume),
            ..Self::new(410, "Expired", message)
        }
    }

    /// A version that this server has not seen yet.
    pub(super) fn too_large(asked: u64, newest: u64) -> Self {
        let mut status = Self::new(
            504,
            "Timeout",
            format!("Too large resource version: {asked}, current: {newest}"),
        );
        status.details = json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
            "retryAfterSeconds": 1,
        });
        status.retry_after = Some(1);
        status
    }

    /// A combination of list options that the server refuses.
    pub(super) fn invalid_options(field: &str, why: &str) -> Self {
        Self::new(
            422,
            "Invalid",
            format!(r#"ListOptions.meta.k8s.io "" is invalid: {field}: Forbidden: {field} {why}"#),
        )
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn json(&self) -> Value {
        let mut metadata = json!({});
        if let Some(token) = &self.resume {
            metadata["continue"] = json!(token);
        }
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        })
    }
}
