//! EDNS(0), RFC 6891: the OPT record of a query and what of it goes back in the reply.

use std::borrow::Cow;
use std::ops::Deref;

/// Codes of EDNS options that the server knows by name.
pub mod option {
    /// Name server identifier (RFC 5001).
    pub const NSID: u16 = 3;
    /// Client subnet (RFC 7871).
    pub const SUBNET: u16 = 8;
    /// Zone expiry (RFC 7314).
    pub const EXPIRE: u16 = 9;
    /// DNS cookie (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// TCP keepalive (RFC 7828).
    pub const KEEPALIVE: u16 = 11;
    /// Padding (RFC 7830).
    pub const PADDING: u16 = 12;
    /// Extended error (RFC 8914).
    pub const EXTENDED_ERROR: u16 = 15;
}

/// Octets of a text that are told: no client shows more in a line, and the message has other things to say.
const TEXT_MAX: usize = 255;

/// Why an answer is no better (RFC 8914).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedError {
    /// What kind of reason it is.
    pub code: ErrorCode,
    /// The reason in words, for people who read the output of `dig`; may be empty.
    pub text: Cow<'static, str>,
}

/// An extended error of a reply. Most are known beforehand, and cost nothing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explanation {
    /// One that is always told in the same words.
    Known(&'static ExtendedError),
    /// One that is made for the reply.
    Made(Box<ExtendedError>),
}

/// Kinds of reasons (RFC 8914 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// None of the others.
    Other = 0,
    /// The answer is older than its TTL allows.
    StaleAnswer = 3,
    /// The failure was met before, and nobody was asked again.
    CachedError = 13,
    /// The server does not do all of its work, or know all that it answers from: not yet, or no more.
    NotReady = 14,
    /// The denial is older than its TTL allows.
    StaleNxDomain = 19,
    /// The name is in no zone of this server, which asks nobody else.
    NotAuthoritative = 20,
    /// No server that could know was reached.
    NoReachableAuthority = 22,
    /// Something else went wrong between us and such a server.
    NetworkError = 23,
    /// Such a server answered, but not with an answer.
    InvalidData = 24,
}

/// The OPT record of a query.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Edns {
    /// Version; ours is 0.
    pub version: u8,
    /// UDP payload size that the sender can take, as sent.
    pub payload: u16,
    /// DNSSEC OK (RFC 3225).
    pub dnssec_ok: bool,
    /// Options in wire form, each well-formed.
    pub options: Vec<u8>,
}

impl Edns {
    /// The options, each as code and data.
    pub fn options(&self) -> Options<'_> {
        Options {
            rest: &self.options,
        }
    }

    /// The options that a reply made here repeats. A server repeats what it understands and ignores the rest
    /// (RFC 6891 section 6.1.2); these five are CoreDNS's choice, and clients see it.
    pub fn repeated(&self) -> impl Iterator<Item = (u16, &[u8])> {
        use option::*;
        self.options()
            .filter(|(code, _)| matches!(*code, NSID | EXPIRE | COOKIE | KEEPALIVE | PADDING))
    }
}

impl ExtendedError {
    /// One that is known beforehand.
    pub const fn of(code: ErrorCode, text: &'static str) -> ExtendedError {
        ExtendedError {
            code,
            text: Cow::Borrowed(text),
        }
    }

    /// Appends the option (RFC 8914 section 2).
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut end = self.text.len().min(TEXT_MAX);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &self.text.as_bytes()[..end];
        let [option1, option2] = option::EXTENDED_ERROR.to_be_bytes();
        let [length1, length2] = (2 + text.len() as u16).to_be_bytes();
        let [code1, code2] = (self.code as u16).to_be_bytes();
        out.extend_from_slice(&[option1, option2, length1, length2, code1, code2]);
        out.extend_from_slice(text);
    }
}

impl Deref for Explanation {
    type Target = ExtendedError;

    fn deref(&self) -> &ExtendedError {
        match self {
            Explanation::Known(error) => error,
            Explanation::Made(error) => error,
        }
    }
}

impl From<&'static ExtendedError> for Explanation {
    fn from(error: &'static ExtendedError) -> Explanation {
        Explanation::Known(error)
    }
}

impl From<ExtendedError> for Explanation {
    fn from(error: ExtendedError) -> Explanation {
        Explanation::Made(Box::new(error))
    }
}

/// Options in wire form, as code and data.
#[derive(Clone)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// Iterates over the data of an OPT record.
    pub fn of(rdata: &'a [u8]) -> Options<'a> {
        Options { rest: rdata }
    }

    /// Whether all octets were options; ask at the end.
    pub fn is_exhausted(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let (head, rest) = self.rest.split_first_chunk::<4>()?;
        let [code1, code2, len1, len2] = *head;
        let (data, rest) = rest.split_at_checked(u16::from_be_bytes([len1, len2]) as usize)?;
        self.rest = rest;
        Some((u16::from_be_bytes([code1, code2]), data))
    }
}

/// Whether the data of an OPT record are whole options, each of a form that its RFC allows.
pub fn well_formed(rdata: &[u8]) -> bool {
    let mut options = Options::of(rdata);
    options
        .by_ref()
        .all(|(code, data)| option_well_formed(code, data))
        && options.is_exhausted()
}

fn option_well_formed(code: u16, data: &[u8]) -> bool {
    match code {
        option::SUBNET => subnet_well_formed(data),
        option::EXPIRE => data.is_empty() || data.len() >= 4,
        option::KEEPALIVE => matches!(data.len(), 0 | 2),
        option::EXTENDED_ERROR => data.len() >= 2,
        _ => true,
    }
}

/// RFC 7871 section 6; family 0 is what `dig +subnet=0` sends.
fn subnet_well_formed(data: &[u8]) -> bool {
    let [family1, family2, source, scope, ..] = *data else {
        return false;
    };
    match u16::from_be_bytes([family1, family2]) {
        0 => source == 0,
        1 => source <= 32 && scope <= 32,
        2 => source <= 128 && scope <= 128,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked_by_the_form_their_rfc_gives() {
        for (what, rdata, expected) in [
            ("none", &b""[..], true),
            ("NSID", b"\0\x03\0\0", true),
            ("a cut head", b"\0\x03\0", false),
            ("data over the end", b"\0\x0a\0\x20abc", false),
            ("a subnet", b"\0\x08\0\x07\0\x01\x18\0\xc0\0\x02", true),
            ("a subnet cut short", b"\0\x08\0\x03\0\x01\x80", false),
            ("a subnet of 33 bits", b"\0\x08\0\x04\0\x01\x21\0", false),
            ("a subnet of no family", b"\0\x08\0\x04\0\x07\0\0", false),
            ("keepalive of one octet", b"\0\x0b\0\x01\0", false),
            ("an extended error", b"\0\x0f\0\x02\0\0", true),
            ("an unknown option", b"\0\x64\0\x01x", true),
        ] {
            assert_eq!(well_formed(rdata), expected, "{what}");
        }
    }

    #[test]
    fn only_understood_options_are_repeated_in_their_order() {
        let edns = Edns {
            options: b"\0\x03\0\0\0\x0f\0\x02\0\0\0\x0a\0\x01c\xfd\xe9\0\0".to_vec(),
            ..Edns::default()
        };
        let codes: Vec<u16> = edns.repeated().map(|(code, _)| code).collect();
        assert_eq!(codes, [option::NSID, option::COOKIE]);
    }

    #[test]
    fn an_extended_error_is_an_option_with_a_code_and_words() {
        let long = ExtendedError {
            code: ErrorCode::Other,
            text: ("x".repeat(254) + "é").into(),
        };
        for (what, error, expected) in [
            (
                "with words",
                ExtendedError::of(ErrorCode::NetworkError, "why"),
                b"\0\x0f\0\x05\0\x17why".to_vec(),
            ),
            (
                "without",
                ExtendedError::of(ErrorCode::StaleAnswer, ""),
                b"\0\x0f\0\x02\0\x03".to_vec(),
            ),
            (
                "with too many",
                long,
                [&b"\0\x0f\x01\0\0\0"[..], &[b'x'; 254]].concat(),
            ),
        ] {
            let mut option = Vec::new();
            error.write(&mut option);
            assert_eq!(option, expected, "{what}");
            assert!(well_formed(&option), "{what}");
        }
    }
}
