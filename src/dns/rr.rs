//! Numbers of the DNS with their mnemonics: types, classes, response codes, opcodes (the IANA registry).

use std::fmt;

/// A resource record type (RFC 1035 section 3.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Type(pub u16);

/// A class; all that we serve is [`Class::IN`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class(pub u16);

/// A response code with the upper bits of EDNS (RFC 6891 section 6.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rcode(pub u16);

/// Declares constants and both directions of the mnemonic from one list, so that they cannot drift apart.
macro_rules! mnemonics {
    ($of:ident, $what:literal, $prefix:literal, { $($(#[$doc:meta])* $name:ident = $value:literal $(as $text:literal)?;)* }) => {
        impl $of {
            $(
                #[doc = concat!("`", stringify!($name), "`, value ", stringify!($value), ".")]
                $(#[$doc])*
                pub const $name: $of = $of($value);
            )*

            #[doc = concat!("The mnemonic of this ", $what, ", where it has one.")]
            pub fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(mnemonics!(@text $name $($text)?)),)*
                    _ => None,
                }
            }

            #[doc = concat!("The ", $what, " with this mnemonic, in any case.")]
            pub fn from_mnemonic(text: &str) -> Option<$of> {
                $(if text.eq_ignore_ascii_case(mnemonics!(@text $name $($text)?)) { return Some($of($value)); })*
                None
            }
        }

        impl fmt::Display for $of {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.mnemonic() {
                    Some(text) => f.write_str(text),
                    None => write!(f, "{}{}", $prefix, self.0),
                }
            }
        }

        impl fmt::Debug for $of {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
    (@text $name:ident $text:literal) => { $text };
    (@text $name:ident) => { stringify!($name) };
}

mnemonics!(Type, "type", "TYPE", {
    A = 1; NS = 2; MD = 3; MF = 4; CNAME = 5; SOA = 6; MB = 7; MG = 8; MR = 9; NULL = 10; PTR = 12; HINFO = 13;
    MINFO = 14; MX = 15; TXT = 16; RP = 17; AFSDB = 18; X25 = 19; ISDN = 20; RT = 21; NSAP_PTR = 23 as "NSAP-PTR";
    SIG = 24; KEY = 25; PX = 26; GPOS = 27; AAAA = 28; LOC = 29; NXT = 30; EID = 31; NIMLOC = 32; SRV = 33; ATMA = 34;
    NAPTR = 35; KX = 36; CERT = 37; DNAME = 39; OPT = 41; APL = 42; DS = 43; SSHFP = 44; IPSECKEY = 45; RRSIG = 46;
    NSEC = 47; DNSKEY = 48; DHCID = 49; NSEC3 = 50; NSEC3PARAM = 51; TLSA = 52; SMIMEA = 53; HIP = 55; NINFO = 56;
    RKEY = 57; TALINK = 58; CDS = 59; CDNSKEY = 60; OPENPGPKEY = 61; CSYNC = 62; ZONEMD = 63; SVCB = 64; HTTPS = 65;
    SPF = 99; UINFO = 100; UID = 101; GID = 102; UNSPEC = 103; NID = 104; L32 = 105; L64 = 106; LP = 107; EUI48 = 108;
    EUI64 = 109; TKEY = 249; TSIG = 250; IXFR = 251; AXFR = 252; MAILB = 253; MAILA = 254; ANY = 255; URI = 256;
    CAA = 257; AVC = 258; TA = 32768; DLV = 32769;
});

mnemonics!(Class, "class", "CLASS", {
    IN = 1;
    CS = 2;
    CH = 3;
    HS = 4;
    NONE = 254;
    ANY = 255;
});

mnemonics!(Rcode, "response code", "RCODE", {
    NOERROR = 0;
    FORMERR = 1;
    SERVFAIL = 2;
    NXDOMAIN = 3;
    NOTIMP = 4;
    REFUSED = 5;
    YXDOMAIN = 6;
    YXRRSET = 7;
    NXRRSET = 8;
    NOTAUTH = 9;
    NOTZONE = 10;
    BADVERS = 16;
    BADKEY = 17;
    BADTIME = 18;
    BADMODE = 19;
    BADNAME = 20;
    BADALG = 21;
    BADTRUNC = 22;
    BADCOOKIE = 23;
});

impl Rcode {
    /// The four bits that fit the header; the rest travels in OPT.
    pub fn header_bits(self) -> u8 {
        (self.0 & 0xf) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mnemonics_read_back_and_unknown_numbers_are_written_as_rfc_3597_does() {
        for (value, text) in [
            (1, "A"),
            (28, "AAAA"),
            (65, "HTTPS"),
            (23, "NSAP-PTR"),
            (65280, "TYPE65280"),
        ] {
            assert_eq!(Type(value).to_string(), text);
        }
        for text in ["a", "Aaaa", "https", "nsap-ptr"] {
            let found = Type::from_mnemonic(text).expect("a registered type");
            assert!(found.to_string().eq_ignore_ascii_case(text), "{text}");
        }
        assert_eq!(Type::from_mnemonic("TYPE1"), None);
    }

    #[test]
    fn an_extended_response_code_keeps_its_low_bits_in_the_header() {
        assert_eq!(Rcode::BADVERS.header_bits(), 0);
        assert_eq!(Rcode::BADCOOKIE.header_bits(), 7);
        assert_eq!(Rcode::NXDOMAIN.header_bits(), 3);
    }
}
