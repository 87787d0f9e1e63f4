//! What a line of the query log looks like: a text with placeholders, taken apart once.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use crate::dns::query::flag;
use crate::dns::{Query, Rcode, Reply};

/// What `{common}` stands for, and what a line looks like where the Corefile does not say.
const COMMON: &str = concat!(
    r#"{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}""#,
    " {rcode} {>rflags} {rsize} {duration}"
);
/// What `{combined}` stands for.
const COMBINED: &str = concat!(
    r#"{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}""#,
    r#" {rcode} {>rflags} {rsize} {duration} "{>opcode}""#
);
/// What stands in the place of a value that is not there.
const EMPTY: &[u8] = b"-";

/// The pieces of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format(Box<[Piece]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Field(Field),
}

/// A value that a line can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Type,
    Class,
    Name,
    Transport,
    Size,
    Remote,
    Port,
    Local,
    Rcode,
    ReplySize,
    Duration,
    ReplyFlags,
    Bufsize,
    DnssecOk,
    Id,
    Opcode,
    /// What another plugin knows of a query; none does so far.
    Metadata,
}

const FIELDS: [(&str, Field); 16] = [
    ("type", Field::Type),
    ("class", Field::Class),
    ("name", Field::Name),
    ("proto", Field::Transport),
    ("size", Field::Size),
    ("remote", Field::Remote),
    ("port", Field::Port),
    ("local", Field::Local),
    ("rcode", Field::Rcode),
    ("rsize", Field::ReplySize),
    ("duration", Field::Duration),
    (">rflags", Field::ReplyFlags),
    (">bufsize", Field::Bufsize),
    (">do", Field::DnssecOk),
    (">id", Field::Id),
    (">opcode", Field::Opcode),
];

/// Flags of a reply in the order in which they are written; it is a response anyway.
const FLAGS: [(u16, &str); 6] = [
    (flag::AA, ",aa"),
    (flag::TC, ",tc"),
    (flag::RD, ",rd"),
    (flag::RA, ",ra"),
    (flag::AD, ",ad"),
    (flag::CD, ",cd"),
];

impl Format {
    /// The format where the Corefile names none.
    pub fn common() -> Format {
        Format::compile(COMMON)
    }

    /// Takes a format apart. What stands in braces and is no placeholder is text.
    pub fn compile(text: &str) -> Format {
        let text = text
            .replace("{common}", COMMON)
            .replace("{combined}", COMBINED);
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text.as_str();
        while let Some(close) = rest.find('}') {
            let (head, behind) = rest.split_at(close + 1);
            rest = behind;
            let placeholder = head.rfind('{').and_then(|open| {
                let field = Field::named(&head[open + 1..close])?;
                Some((open, field))
            });
            let Some((open, field)) = placeholder else {
                literal.push_str(head);
                continue;
            };
            literal.push_str(&head[..open]);
            push_text(&mut pieces, &mut literal);
            pieces.push(Piece::Field(field));
        }
        literal.push_str(rest);
        push_text(&mut pieces, &mut literal);
        Format(pieces.into())
    }

    /// Appends the line about a query that took `elapsed`.
    pub(super) fn append(
        &self,
        query: &Query,
        reply: &Reply,
        elapsed: Duration,
        line: &mut Vec<u8>,
    ) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => line.extend_from_slice(text.as_bytes()),
                Piece::Field(field) => field.append(query, reply, elapsed, line),
            }
        }
    }
}

fn push_text(pieces: &mut Vec<Piece>, literal: &mut String) {
    if !literal.is_empty() {
        pieces.push(Piece::Text(std::mem::take(literal).into()));
    }
}

impl Field {
    /// Fields of the header may be written in any case.
    fn named(text: &str) -> Option<Field> {
        if text.len() > 1 && text.starts_with('/') {
            return Some(Field::Metadata);
        }
        let is = |name: &str| match name.starts_with('>') {
            true => name.eq_ignore_ascii_case(text),
            false => name == text,
        };
        FIELDS
            .iter()
            .find(|(name, _)| is(name))
            .map(|(_, field)| *field)
    }

    fn append(self, query: &Query, reply: &Reply, elapsed: Duration, line: &mut Vec<u8>) {
        let question = &query.question;
        let written = match self {
            Field::Type => mnemonic(question.rtype.mnemonic(), &question.rtype, line),
            Field::Class => mnemonic(question.class.mnemonic(), &question.class, line),
            Field::Name => {
                question.name.append_text(line);
                Ok(())
            }
            Field::Transport => line.write_all(query.transport.as_str().as_bytes()),
            Field::Size => number(query.size, line),
            Field::Remote => address(query.client.ip(), line),
            Field::Port => number(query.client.port().into(), line),
            Field::Local => address(query.server.ip(), line),
            Field::Rcode => rcode(reply.rcode, line),
            Field::ReplySize => number(reply.size(query), line),
            Field::Duration => duration(elapsed, line),
            Field::ReplyFlags => flags(reply.flags, line),
            Field::Bufsize => number(query.reply_max(), line),
            Field::DnssecOk => write!(line, "{}", query.dnssec_ok()),
            Field::Id => number(query.id.into(), line),
            Field::Opcode => number(query.opcode().into(), line),
            Field::Metadata => line.write_all(EMPTY),
        };
        written.expect("writing to memory does not fail");
    }
}

fn mnemonic(
    known: Option<&str>,
    value: &impl std::fmt::Display,
    line: &mut Vec<u8>,
) -> std::io::Result<()> {
    match known {
        Some(text) => line.write_all(text.as_bytes()),
        None => write!(line, "{value}"),
    }
}

/// Digits by hand: a line has ten numbers, and the machinery of `write!` is most of what a line would cost.
fn number(value: usize, line: &mut Vec<u8>) -> std::io::Result<()> {
    let mut digits = [0; usize::MAX.ilog10() as usize + 1];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    line.write_all(&digits[at..])
}

/// Seconds with as many decimals as matter.
fn duration(elapsed: Duration, line: &mut Vec<u8>) -> std::io::Result<()> {
    number(elapsed.as_secs() as usize, line)?;
    let mut decimals = *b".000000000";
    let mut rest = elapsed.subsec_nanos();
    for digit in decimals[1..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let len = decimals
        .iter()
        .rposition(|digit| !matches!(digit, b'0' | b'.'));
    line.write_all(len.map_or(&[], |last| &decimals[..=last]))?;
    line.write_all(b"s")
}

/// An IPv6 address stands in brackets, for the port that may follow.
fn address(ip: IpAddr, line: &mut Vec<u8>) -> std::io::Result<()> {
    match ip {
        IpAddr::V4(ip) => {
            let [first, rest @ ..] = ip.octets();
            number(first.into(), line)?;
            rest.iter().try_for_each(|octet| {
                line.push(b'.');
                number((*octet).into(), line)
            })
        }
        IpAddr::V6(ip) => write!(line, "[{ip}]"),
    }
}

fn rcode(rcode: Rcode, line: &mut Vec<u8>) -> std::io::Result<()> {
    match rcode.mnemonic() {
        Some(text) => line.write_all(text.as_bytes()),
        None => write!(line, "{}", rcode.0),
    }
}

fn flags(flags: u16, line: &mut Vec<u8>) -> std::io::Result<()> {
    line.write_all(b"qr")?;
    for (bit, text) in FLAGS {
        if flags & bit != 0 {
            line.write_all(text.as_bytes())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::reply::Owner;
    use crate::dns::{Class, Edns, Question, Section, Type};

    fn line(format: &str, change: impl FnOnce(&mut Query, &mut Reply)) -> String {
        let mut query = Query::empty();
        query.question = Question::new("Example.org.".parse().unwrap(), Type::A, Class::IN);
        query.id = 4321;
        query.flags = flag::RD;
        query.size = 45;
        query.client = "10.0.0.1:5000".parse().unwrap();
        query.server = "10.96.0.10:53".parse().unwrap();
        let mut reply = Reply::authoritative(&mut query, Rcode::NOERROR);
        reply.flags |= flag::RA;
        let data: &[u8] = &[192, 0, 2, 1];
        reply
            .records
            .push(Section::Answer, Owner::Asked(0), Type::A, 60, &[data]);
        change(&mut query, &mut reply);
        let mut line = Vec::new();
        Format::compile(format).append(&query, &reply, Duration::from_micros(1230), &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn the_named_formats_are_coredns_s() {
        let with_edns = |query: &mut Query, _: &mut Reply| {
            query.edns = Some(Edns {
                payload: 4096,
                ..Edns::default()
            });
        };
        let common = r#"10.0.0.1:5000 - 4321 "A IN example.org. udp 45 false 4096" NOERROR qr,aa,rd,ra 56 0.00123s"#;
        assert_eq!(line("{common}", with_edns), common);
        assert_eq!(line("{combined}", with_edns), format!("{common} \"0\""));
    }

    #[test]
    fn numbers_are_written_as_the_library_writes_them() {
        for value in [0, 7, 10, 99, 100, 65_535, usize::MAX] {
            let mut line = Vec::new();
            number(value, &mut line).unwrap();
            assert_eq!(String::from_utf8(line).unwrap(), value.to_string());
        }
        for (nanoseconds, expected) in [
            (0, "0s"),
            (1, "0.000000001s"),
            (1_230_000, "0.00123s"),
            (20_500_000, "0.0205s"),
            (3_000_000_000, "3s"),
            (12_100_000_000, "12.1s"),
        ] {
            let elapsed = Duration::from_nanos(nanoseconds);
            let mut line = Vec::new();
            duration(elapsed, &mut line).unwrap();
            assert_eq!(String::from_utf8(line).unwrap(), expected);
            assert_eq!(format!("{}s", elapsed.as_secs_f64()), expected);
        }
    }

    #[test]
    fn placeholders_are_replaced_and_the_rest_is_text() {
        for (format, expected) in [
            ("plain", "plain"),
            ("{nonsense} {name", "{nonsense} {name"),
            ("}{name}}", "}example.org.}"),
            ("{{name}", "{example.org."),
            ("{NAME} {>ID}", "{NAME} 4321"),
            ("{/kubernetes/service} {/}", "- {/}"),
            ("{local} {>bufsize} {>opcode}", "10.96.0.10 512 0"),
        ] {
            assert_eq!(line(format, |_, _| {}), expected, "{format}");
        }
    }

    #[test]
    fn values_are_written_as_coredns_writes_them() {
        type Change = fn(&mut Query, &mut Reply);
        let rows: [(&str, &str, Change, &str); 5] = [
            (
                "an IPv6 client",
                "{remote}:{port}",
                |query, _| query.client = "[fd00::1]:53".parse().unwrap(),
                "[fd00::1]:53",
            ),
            (
                "an unknown code",
                "{rcode}",
                |_, reply| reply.rcode = Rcode(3000),
                "3000",
            ),
            (
                "an unknown type and class",
                "{type} {class}",
                |query, _| {
                    query.question.rtype = Type(65_280);
                    query.question.class = Class(7);
                },
                "TYPE65280 CLASS7",
            ),
            ("no flag", "{>rflags}", |_, reply| reply.flags = 0, "qr"),
            (
                "all flags",
                "{>rflags}",
                |_, reply| reply.flags = u16::MAX,
                "qr,aa,tc,rd,ra,ad,cd",
            ),
        ];
        for (what, format, change, expected) in rows {
            assert_eq!(line(format, change), expected, "{what}");
        }
    }
}
