//! Text to requirements: tokens, grammar, and the rules for keys and values.

use std::collections::BTreeSet;

use super::{Requirement, Test};

/// Limit of the API for the name part of a key and for a value, in bytes.
const LABEL_BYTES_MAX: usize = 63;
/// Limit of the API for the prefix of a key, in bytes.
const PREFIX_BYTES_MAX: usize = 253;

const NAME_RULE: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const PREFIX_RULE: &str = "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A key, a value, or one of the words `in` and `notin`.
    Word(&'a str),
    /// One of `( ) , ! = == != > <`.
    Sign(&'a str),
    End,
}

/// What stands where an operator must stand.
enum Operator {
    Equals,
    Differs,
    In,
    NotIn,
}

struct Parser<'a> {
    rest: &'a str,
}

pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser { rest: text };
    let mut requirements = Vec::new();
    match parser.peek() {
        Token::End => return Ok(requirements),
        Token::Word(_) | Token::Sign("!") => {}
        Token::Sign(sign) => {
            return Err(format!(
                "found '{sign}', expected: !, identifier, or 'end of string'"
            ));
        }
    }
    loop {
        let requirement = parser.requirement();
        requirements
            .push(requirement.map_err(|what| format!("unable to parse requirement: {what}"))?);
        match parser.next() {
            Token::End => return Ok(requirements),
            Token::Sign(",") => match parser.peek() {
                Token::Word(_) | Token::Sign("!") => {}
                other => {
                    return Err(format!(
                        "found '{}', expected: identifier after ','",
                        other.text()
                    ));
                }
            },
            other => {
                return Err(format!(
                    "found '{}', expected: ',' or 'end of string'",
                    other.text()
                ));
            }
        }
    }
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.token().0
    }

    fn next(&mut self) -> Token<'a> {
        let (token, rest) = self.token();
        self.rest = rest;
        token
    }

    fn token(&self) -> (Token<'a>, &'a str) {
        let text = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let sign = |c: char| matches!(c, '(' | ')' | ',' | '!' | '=' | '>' | '<');
        let length = match text.chars().next() {
            None => return (Token::End, text),
            Some(first) if sign(first) => {
                let double = text.starts_with("==") || text.starts_with("!=");
                let (token, rest) = text.split_at(if double { 2 } else { 1 });
                return (Token::Sign(token), rest);
            }
            Some(_) => text.find(|c| sign(c) || matches!(c, ' ' | '\t' | '\r' | '\n')),
        };
        let (word, rest) = text.split_at(length.unwrap_or(text.len()));
        (Token::Word(word), rest)
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut token = self.next();
        let absent = token == Token::Sign("!");
        if absent {
            token = self.next();
        }
        let Token::Word(key) = token else {
            return Err(format!("found '{}', expected: identifier", token.text()));
        };
        check_key(key)?;
        let test = match self.peek() {
            _ if absent => Test::Absent,
            Token::End | Token::Sign(",") => Test::Exists,
            _ => self.test(key)?,
        };
        Ok(Requirement {
            key: key.into(),
            test,
        })
    }

    fn test(&mut self, key: &str) -> Result<Test, String> {
        let test = match self.operator()? {
            Operator::Equals => Test::Equals(self.value()?),
            Operator::Differs => Test::Differs(self.value()?),
            Operator::In => Test::In(self.values()?),
            Operator::NotIn => Test::NotIn(self.values()?),
        };
        let values = match &test {
            Test::Equals(value) | Test::Differs(value) => std::slice::from_ref(value),
            Test::In(values) | Test::NotIn(values) => values,
            Test::Exists | Test::Absent => &[],
        };
        for (at, value) in values.iter().enumerate() {
            check_value(value)
                .map_err(|rule| format!("values[{at}][{key}]: Invalid value: {value:?}: {rule}"))?;
        }
        Ok(test)
    }

    fn operator(&mut self) -> Result<Operator, String> {
        match self.next() {
            Token::Sign("=" | "==") => Ok(Operator::Equals),
            Token::Sign("!=") => Ok(Operator::Differs),
            Token::Word("in") => Ok(Operator::In),
            Token::Word("notin") => Ok(Operator::NotIn),
            Token::Sign(">") => Err("\"gt\" isn't supported in label selectors".to_owned()),
            Token::Sign("<") => Err("\"lt\" isn't supported in label selectors".to_owned()),
            other => Err(format!(
                "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                other.text()
            )),
        }
    }

    fn value(&mut self) -> Result<Box<str>, String> {
        match self.peek() {
            Token::End | Token::Sign(",") => Ok(Box::default()),
            Token::Word(value) => {
                self.next();
                Ok(value.into())
            }
            Token::Sign(sign) => Err(format!("found '{sign}', expected: identifier")),
        }
    }

    /// A list in parentheses; a place between commas that holds nothing holds the empty value.
    fn values(&mut self) -> Result<Vec<Box<str>>, String> {
        match self.next() {
            Token::Sign("(") => {}
            other => return Err(format!("found '{}' expected: '('", other.text())),
        }
        let mut values = BTreeSet::new();
        if !matches!(self.peek(), Token::Word(_) | Token::Sign("," | ")")) {
            return Err(format!(
                "found '{}', expected: ',', ')' or identifier",
                self.peek().text()
            ));
        }
        loop {
            match self.peek() {
                Token::Word(value) => {
                    self.next();
                    values.insert(value.into());
                }
                Token::Sign("," | ")") => {
                    values.insert(Box::default());
                }
                other => {
                    return Err(format!(
                        "found '{}', expected: ',', or identifier",
                        other.text()
                    ));
                }
            }
            match self.next() {
                Token::Sign(",") => {}
                Token::Sign(")") => return Ok(values.into_iter().collect()),
                other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
            }
        }
    }
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Token::Word(text) | Token::Sign(text) => text,
            Token::End => "",
        }
    }
}

fn check_key(key: &str) -> Result<(), String> {
    let invalid = |rule: &str| Err(format!("<nil>: Invalid value: {key:?}: {rule}"));
    let name = match key.split_once('/') {
        None => key,
        Some(("", _)) => return invalid("prefix part must be non-empty"),
        Some((prefix, _)) if prefix.len() > PREFIX_BYTES_MAX => {
            return invalid("prefix part must be no more than 253 bytes");
        }
        Some((prefix, _)) if !is_subdomain(prefix) => return invalid(PREFIX_RULE),
        Some((_, name)) => name,
    };
    if name.is_empty() {
        invalid("name part must be non-empty")
    } else if name.len() > LABEL_BYTES_MAX {
        invalid("name part must be no more than 63 bytes")
    } else if !is_name(name) {
        invalid(NAME_RULE)
    } else {
        Ok(())
    }
}

fn check_value(value: &str) -> Result<(), &'static str> {
    if value.len() > LABEL_BYTES_MAX {
        Err("must be no more than 63 bytes")
    } else if value.is_empty() || is_name(value) {
        Ok(())
    } else {
        Err(VALUE_RULE)
    }
}

fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(outer) && text.ends_with(outer) && text.chars().all(inner)
}

fn is_subdomain(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |label: &str| {
        label.starts_with(outer)
            && label.ends_with(outer)
            && label.chars().all(|c| outer(c) || c == '-')
    };
    text.split('.').all(label)
}
