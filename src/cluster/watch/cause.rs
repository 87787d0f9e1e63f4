//! Why a request failed, in the words of whoever found out.

use std::error::Error;

/// Layers that say no more than that what is below them failed.
const SAYS_NOTHING: [&str; 6] = [
    "ServiceError",
    "tcp connect error",
    "dns error",
    "connection error",
    "error reading a body from connection",
    "http2 error",
];

/// What the layers of an error say, without those that say nothing and without the system's number.
pub(super) fn cause(error: &dyn Error) -> String {
    let mut layers = Vec::new();
    let mut next = Some(error);
    while let Some(layer) = next {
        let (text, below) = (layer.to_string(), layer.source());
        // Some errors repeat in their own text what is below them.
        let own = match below.map(ToString::to_string) {
            Some(below) if text == below => String::new(),
            Some(below) => text.strip_suffix(&below).map_or(text.clone(), |own| {
                own.trim_end_matches([' ', ':']).to_owned()
            }),
            None => text,
        };
        layers.push(plain(&own));
        next = below;
    }
    let last = layers.pop().unwrap_or_default();
    let says_nothing = |layer: &String| {
        layer.is_empty() || SAYS_NOTHING.contains(&&**layer) || layer.starts_with("client error (")
    };
    layers.retain(|layer| !says_nothing(layer));
    layers.push(last);
    layers.join(": ")
}

/// `Connection refused (os error 111)` as `connection refused`: the number helps nobody, and the text goes on a sentence.
fn plain(text: &str) -> String {
    let text = match text.rsplit_once(" (os error ") {
        Some((text, number)) if number.ends_with(')') => text,
        _ => text,
    };
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // `TLS` stays as it is, and so does the name of a type.
        (Some(first), Some(second)) if second.is_lowercase() && text.contains(' ') => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A text, and the error below it.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(String, #[source] Option<Box<dyn Error>>);

    /// Layers from the outermost to the innermost.
    fn layers(texts: &[&str], innermost: Option<io::Error>) -> Box<dyn Error> {
        let innermost = innermost.map(|error| -> Box<dyn Error> { Box::new(error) });
        let error = texts.iter().rev().fold(innermost, |below, text| {
            Some(Box::new(Layer((*text).to_owned(), below)))
        });
        error.unwrap()
    }

    #[test]
    fn a_failure_is_told_in_plain_words() {
        let refused = io::Error::from_raw_os_error(111);
        for (name, error, expected) in [
            (
                "a server that does not listen",
                layers(
                    &[
                        "ServiceError: client error (Connect)",
                        "client error (Connect)",
                        "tcp connect error",
                    ],
                    Some(refused),
                ),
                "connection refused",
            ),
            (
                "a name that does not exist",
                layers(
                    &[
                        "client error (Connect)",
                        "dns error",
                        "failed to lookup address information: Name or service not known",
                    ],
                    None,
                ),
                "failed to lookup address information: Name or service not known",
            ),
            (
                "a certificate of somebody else",
                layers(
                    &[
                        "client error (Connect)",
                        "invalid peer certificate: UnknownIssuer",
                    ],
                    None,
                ),
                "invalid peer certificate: UnknownIssuer",
            ),
            (
                "a layer that says something",
                layers(
                    &["token of the service account: No such file", "No such file"],
                    None,
                ),
                "token of the service account: no such file",
            ),
            (
                "a layer that says it twice",
                layers(&["connection reset", "connection reset"], None),
                "connection reset",
            ),
            (
                "nothing but a layer that says nothing",
                layers(&["connection error"], None),
                "connection error",
            ),
        ] {
            assert_eq!(cause(&*error), expected, "{name}");
        }
    }
}
