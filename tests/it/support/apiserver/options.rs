//! The query of a request → list options that cannot contradict themselves, or the Status that refuses them.

use std::time::Duration;

use super::{resource::Resource, selector::Selector, status::Status};

/// `resourceVersion` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Absent: the most recent.
    Newest,
    /// `0`: whatever the server has at hand.
    Any,
    At(u64),
}

/// `resourceVersionMatch` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Exact,
    NotOlderThan,
}

/// Options of a list or a watch (meta/v1 ListOptions).
#[derive(Debug)]
pub(super) struct ListOptions {
    pub(super) version: Version,
    pub(super) version_match: Option<Match>,
    /// Objects a page; None: all.
    pub(super) limit: Option<usize>,
    pub(super) continue_token: Option<String>,
    pub(super) selector: Selector,
    pub(super) bookmarks: bool,
    pub(super) send_initial_events: Option<bool>,
    pub(super) timeout: Option<Duration>,
}

impl ListOptions {
    pub(super) fn parse(
        resource: &Resource,
        parameters: &[(String, String)],
    ) -> Result<Self, Status> {
        let text = |name: &str| parameter(parameters, name).filter(|value| !value.is_empty());
        let number = |name: &str| {
            let parsed = text(name).map(str::parse::<u64>).transpose();
            parsed.map_err(|_| Status::bad_request(format!("{name}: not a number")))
        };
        let options = Self {
            version: match number("resourceVersion")? {
                None => Version::Newest,
                Some(0) => Version::Any,
                Some(version) => Version::At(version),
            },
            version_match: match text("resourceVersionMatch") {
                None => None,
                Some("Exact") => Some(Match::Exact),
                Some("NotOlderThan") => Some(Match::NotOlderThan),
                Some(_) => {
                    return Err(Status::invalid_options(
                        "resourceVersionMatch",
                        "is not a known value",
                    ));
                }
            },
            limit: number("limit")?
                .filter(|limit| *limit > 0)
                .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            continue_token: text("continue").map(str::to_owned),
            selector: Selector::parse(
                resource,
                text("labelSelector").unwrap_or_default(),
                text("fieldSelector").unwrap_or_default(),
            )?,
            bookmarks: text("allowWatchBookmarks").is_some_and(is_true),
            send_initial_events: text("sendInitialEvents").map(is_true),
            timeout: number("timeoutSeconds")?
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
        };
        Ok(options)
    }

    /// What a real server refuses of a list.
    pub(super) fn check_list(&self) -> Result<(), Status> {
        let refusal = |field, why| Err(Status::invalid_options(field, why));
        match (self.version, self.version_match) {
            _ if self.send_initial_events.is_some() => {
                refusal("sendInitialEvents", "is forbidden for list")
            }
            (_, Some(_)) if self.continue_token.is_some() => refusal(
                "resourceVersionMatch",
                "is forbidden when continue is provided",
            ),
            (Version::Newest, Some(_)) => refusal(
                "resourceVersionMatch",
                "is forbidden unless resourceVersion is provided",
            ),
            (Version::Any, Some(Match::Exact)) => refusal(
                "resourceVersionMatch",
                r#""Exact" is forbidden for resourceVersion "0""#,
            ),
            (Version::At(_), _) if self.continue_token.is_some() => Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            )),
            _ => Ok(()),
        }
    }

    /// What a real server that has the WatchList feature refuses of a watch.
    pub(super) fn check_watch(&self) -> Result<(), Status> {
        match (self.send_initial_events, self.version_match) {
            (None, Some(_)) => Err(Status::invalid_options(
                "resourceVersionMatch",
                "is forbidden for watch unless sendInitialEvents is provided",
            )),
            (Some(_), None | Some(Match::Exact)) => Err(Status::invalid_options(
                "sendInitialEvents",
                "requires setting resourceVersionMatch to NotOlderThan",
            )),
            _ => Ok(()),
        }
    }
}

/// The first value of `name`.
pub(super) fn parameter<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// `application/x-www-form-urlencoded`, decoded.
pub(super) fn decode(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (plain(key), plain(value)))
        .collect()
}

pub(super) fn is_true(value: &str) -> bool {
    matches!(value, "true" | "1")
}

fn plain(encoded: &str) -> String {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match (
            first,
            escaped.and_then(|pair| u8::from_str_radix(pair, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
