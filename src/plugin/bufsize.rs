//! `bufsize`: lowers the size of UDP replies that clients say they can take, so that replies are not cut into
//! fragments on the way (RFC 6891 section 6.2.5).

use crate::config::Scope;
use crate::corefile::reader::Reader;
use crate::corefile::{Directive, Faults};
use crate::dns::Query;

/// The size where the Corefile names none: what fits the path MTU nearly everywhere (DNS flag day 2020).
const SIZE_DEFAULT: u16 = 1232;
/// The sizes that may be named.
const SIZES: std::ops::RangeInclusive<u16> = 512..=4096;

/// The largest size, in octets, that a client's own stays unchanged at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config(pub u16);

/// Reads `bufsize [SIZE]`; of several, the first counts.
pub fn parse(occurrences: &[&Directive], _scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let reader = Reader::new(occurrences.first()?, faults);
    reader.no_block()?;
    let Some(word) = reader.optional()? else {
        return Some(Config(SIZE_DEFAULT));
    };
    match word.text.parse() {
        Ok(size) if SIZES.contains(&size) => Some(Config(size)),
        _ => {
            let (least, most) = SIZES.into_inner();
            reader.refuse(
                word,
                format!("size must be a number from {least} to {most}"),
            )
        }
    }
}

/// Lowers the size; never raises it, and makes none where there is none.
#[inline]
pub(crate) fn down(config: Config, query: &mut Query) {
    if let Some(edns) = &mut query.edns {
        edns.payload = edns.payload.min(config.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Edns;
    use crate::plugin::case;

    #[test]
    fn the_size_is_lowered_and_never_raised() {
        for (asked, expected) in [(4096, 1232), (1232, 1232), (600, 600), (0, 0)] {
            let mut query = Query::empty();
            query.edns = Some(Edns {
                payload: asked,
                ..Edns::default()
            });
            down(Config(1232), &mut query);
            assert_eq!(
                query.edns.map(|edns| edns.payload),
                Some(expected),
                "{asked}"
            );
        }
        let mut plain = Query::empty();
        down(Config(1232), &mut plain);
        assert_eq!(plain.edns, None);
    }

    #[test]
    fn sizes_from_512_to_4096_are_taken() {
        let refused = "size must be a number from 512 to 4096";
        for (text, expected) in [
            ("bufsize", Ok(Config(1232))),
            ("bufsize 512", Ok(Config(512))),
            ("bufsize 4096", Ok(Config(4096))),
            ("bufsize 600\nbufsize 700", Ok(Config(600))),
            ("bufsize 511", Err(refused)),
            ("bufsize 4097", Err(refused)),
            ("bufsize 70000", Err(refused)),
            ("bufsize large", Err(refused)),
            (
                "bufsize 512 1024",
                Err("Wrong argument count or unexpected line ending after '1024'"),
            ),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(case::read("bufsize", text, parse), expected, "{text}");
        }
    }
}
