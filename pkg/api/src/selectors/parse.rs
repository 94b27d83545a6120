//! The grammar of label selectors, as text.

use super::SelectorError;
use super::labels::{Operator, Requirement};
use crate::fields::FieldError;
use crate::names;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

const SPECIAL: &[char] = &['=', '!', '(', ')', ',', '>', '<'];
const BLANK: &[char] = &[' ', '\t', '\r', '\n'];

/// Reads the requirements in `text`, in their order there.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser {
        tokens: scan(text),
        at: 0,
    };
    let mut found = Vec::new();
    loop {
        match parser.peek_value() {
            (Token::Identifier | Token::Not, _) => {
                let requirement = parser
                    .requirement()
                    .map_err(|e| SelectorError(format!("unable to parse requirement: {}", e.0)))?;
                found.push(requirement);
                match parser.next_value() {
                    (Token::End, _) => return Ok(found),
                    (Token::Comma, _) => {
                        let (token, text) = parser.peek_value();
                        if !matches!(token, Token::Identifier | Token::Not) {
                            return unexpected(text, "expected: identifier after ','");
                        }
                    }
                    (_, text) => return unexpected(text, "expected: ',' or 'end of string'"),
                }
            }
            (Token::End, _) => return Ok(found),
            (_, text) => return unexpected(text, "expected: !, identifier, or 'end of string'"),
        }
    }
}

fn unexpected<T>(text: &str, expected: &str) -> Result<T, SelectorError> {
    Err(SelectorError(format!("found '{text}', {expected}")))
}

fn scan(text: &str) -> Vec<(Token, &str)> {
    let mut tokens = Vec::new();
    // A NUL ends the text, as it does for upstream's lexer.
    let mut rest = text
        .split('\0')
        .next()
        .unwrap_or_default()
        .trim_start_matches(BLANK);
    while !rest.is_empty() {
        let (token, len) = scan_one(rest);
        tokens.push((token, &rest[..len]));
        rest = rest[len..].trim_start_matches(BLANK);
    }
    tokens.push((Token::End, ""));
    tokens
}

fn scan_one(rest: &str) -> (Token, usize) {
    let bytes = rest.as_bytes();
    match (bytes[0], bytes.get(1)) {
        (b'=', Some(b'=')) => (Token::DoubleEquals, 2),
        (b'!', Some(b'=')) => (Token::NotEquals, 2),
        (b'=', _) => (Token::Equals, 1),
        (b'!', _) => (Token::Not, 1),
        (b'(', _) => (Token::Open, 1),
        (b')', _) => (Token::Close, 1),
        (b',', _) => (Token::Comma, 1),
        (b'>', _) => (Token::Greater, 1),
        (b'<', _) => (Token::Less, 1),
        _ => {
            let end = rest
                .find(|c| SPECIAL.contains(&c) || BLANK.contains(&c))
                .unwrap_or(rest.len());
            let token = match &rest[..end] {
                "in" => Token::In,
                "notin" => Token::NotIn,
                _ => Token::Identifier,
            };
            (token, end)
        }
    }
}

struct Parser<'a> {
    tokens: Vec<(Token, &'a str)>,
    at: usize,
}

impl<'a> Parser<'a> {
    /// The next token; past the end it stays the end.
    fn peek(&self) -> (Token, &'a str) {
        self.tokens.get(self.at).copied().unwrap_or((Token::End, ""))
    }

    fn next(&mut self) -> (Token, &'a str) {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// The next token where `in` and `notin` are words like any other.
    fn peek_value(&self) -> (Token, &'a str) {
        match self.peek() {
            (Token::In | Token::NotIn, text) => (Token::Identifier, text),
            other => other,
        }
    }

    fn next_value(&mut self) -> (Token, &'a str) {
        let token = self.peek_value();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let (mut token, mut key) = self.next_value();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.next_value();
        }
        if token != Token::Identifier {
            return unexpected(key, "expected: identifier");
        }
        let messages = names::qualified_name_errors(key);
        if !messages.is_empty() {
            let error = FieldError::invalid("<nil>", key, messages.join("; "));
            return Err(SelectorError(error.to_string()));
        }
        let alone = matches!(self.peek_value().0, Token::End | Token::Comma);
        if negated || alone {
            let operator = if negated {
                Operator::DoesNotExist
            } else {
                Operator::Exists
            };
            return Requirement::new(key.to_owned(), operator, Vec::new());
        }
        let operator = self.operator()?;
        let mut values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        values.sort();
        values.dedup();
        Requirement::new(key.to_owned(), operator, values)
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        Ok(match self.next() {
            (Token::In, _) => Operator::In,
            (Token::NotIn, _) => Operator::NotIn,
            (Token::Equals, _) => Operator::Equals,
            (Token::DoubleEquals, _) => Operator::DoubleEquals,
            (Token::NotEquals, _) => Operator::NotEquals,
            (Token::Greater, _) => Operator::GreaterThan,
            (Token::Less, _) => Operator::LessThan,
            (_, text) => return unexpected(text, "expected: in, notin, =, ==, !=, gt, lt"),
        })
    }

    /// `(a,b,,c)`; empty places are empty values.
    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        let (token, text) = self.next_value();
        if token != Token::Open {
            return Err(SelectorError(format!("found '{text}' expected: '('")));
        }
        match self.peek_value() {
            (Token::Identifier | Token::Comma, _) => self.value_list(),
            (Token::Close, _) => {
                self.at += 1;
                Ok(vec![String::new()])
            }
            (_, text) => unexpected(text, "expected: ',', ')' or identifier"),
        }
    }

    /// The values up to and with the closing parenthesis.
    fn value_list(&mut self) -> Result<Vec<String>, SelectorError> {
        let mut values = Vec::new();
        loop {
            match self.next_value() {
                (Token::Identifier, text) => {
                    values.push(text.to_owned());
                    match self.peek_value() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => break,
                        (_, text) => return unexpected(text, "expected: ',' or ')'"),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.peek_value().0 {
                        Token::Close => {
                            values.push(String::new());
                            break;
                        }
                        Token::Comma => values.push(String::new()),
                        _ => {}
                    }
                }
                (_, text) => return unexpected(text, "expected: ',', or identifier"),
            }
        }
        self.at += 1;
        Ok(values)
    }

    fn exact_value(&mut self) -> Result<String, SelectorError> {
        match self.peek_value() {
            (Token::End | Token::Comma, _) => Ok(String::new()),
            (token, text) => {
                self.at += 1;
                match token {
                    Token::Identifier => Ok(text.to_owned()),
                    _ => unexpected(text, "expected: identifier"),
                }
            }
        }
    }
}
