//! Splitting a config into words and punctuation, and putting variables in (format §2.1).

use super::{Bytes, Problem};
use crate::{caps, env::Env};

/// A word or a punctuation mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Word(Bytes),
    Open,
    Close,
    ParenOpen,
    ParenClose,
    Equals,
    PlusEquals,
    Comma,
    End,
}

/// Reads tokens on demand, so that a `define()` counts for what follows it.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    pos: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, pos: 0, line: 1 }
    }

    pub(crate) fn line(&self) -> usize {
        self.line
    }

    pub(crate) fn problem(&self, reason: impl Into<String>) -> Problem {
        Problem {
            file: None,
            line: self.line,
            reason: reason.into(),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.pos).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.pos..).unwrap_or_default()
    }

    fn bump(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.pos += 1;
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    /// The next token.
    pub(crate) fn next(&mut self, env: &Env) -> Result<Token, Problem> {
        self.skip_blanks()?;
        let Some(byte) = self.peek() else { return Ok(Token::End) };
        let mark = match byte {
            b'{' => Token::Open,
            b'}' => Token::Close,
            b'(' => Token::ParenOpen,
            b')' => Token::ParenClose,
            b'=' => Token::Equals,
            b',' => Token::Comma,
            b'+' if self.rest().starts_with(b"+=") => {
                self.bump();
                Token::PlusEquals
            }
            b'+' => return Err(self.problem("a '+' outside of quotes")),
            b'"' => return self.double_quoted(env).map(Token::Word),
            b'\'' => return self.single_quoted().map(Token::Word),
            b'$' if self.rest().starts_with(b"${") => {
                let mut word = Bytes::new();
                self.variable(env, &mut word)?;
                return Ok(Token::Word(word));
            }
            _ => return Ok(Token::Word(self.bare())),
        };
        self.bump();
        Ok(mark)
    }

    fn skip_blanks(&mut self) -> Result<(), Problem> {
        loop {
            let rest = self.rest();
            if rest.first().is_some_and(|c| matches!(c, b' ' | b'\t' | b'\n' | b'\r')) {
                self.bump();
            } else if rest.starts_with(b"#") || rest.starts_with(b"//") {
                while self.peek().is_some_and(|c| c != b'\n') {
                    self.bump();
                }
            } else if rest.starts_with(b"/*") {
                let begin = self.problem("a comment has no end");
                self.pos += 2;
                while !self.rest().starts_with(b"*/") {
                    self.bump().ok_or_else(|| begin.clone())?;
                }
                self.pos += 2;
            } else {
                return Ok(());
            }
        }
    }

    fn bare(&mut self) -> Bytes {
        let rest = self.rest();
        let ends = |c: &u8| b" #\"'\t\r\n={}()+,".contains(c);
        let len = rest.iter().position(ends).unwrap_or(rest.len());
        self.pos += len;
        rest[..len].to_vec()
    }

    fn single_quoted(&mut self) -> Result<Bytes, Problem> {
        let begin = self.problem("a string has no end");
        self.bump();
        let mut word = Bytes::new();
        loop {
            match self.bump().ok_or_else(|| begin.clone())? {
                b'\'' => return Ok(word),
                b'\\' if matches!(self.peek(), Some(b'\\' | b'\'')) => word.extend(self.bump()),
                byte => word.push(byte),
            }
        }
    }

    fn double_quoted(&mut self, env: &Env) -> Result<Bytes, Problem> {
        let begin = self.problem("a string has no end");
        self.bump();
        let mut word = Bytes::new();
        loop {
            match self.peek().ok_or_else(|| begin.clone())? {
                b'"' => {
                    self.bump();
                    return Ok(word);
                }
                b'\\' => {
                    self.bump();
                    self.escape(&mut word).map_err(|reason| {
                        if reason.is_empty() {
                            begin.clone()
                        } else {
                            self.problem(reason)
                        }
                    })?;
                }
                b'$' if self.rest().starts_with(b"${") => self.variable(env, &mut word)?,
                byte => {
                    self.bump();
                    word.push(byte);
                }
            }
        }
    }

    /// What follows a backslash in double quotes. An empty reason means that the string has no end.
    fn escape(&mut self, word: &mut Bytes) -> Result<(), &'static str> {
        let byte = self.bump().ok_or("")?;
        let plain = match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 0x08,
            b'f' => 0x0c,
            b'a' => 0x07,
            b'e' => 0x1b,
            b'v' => 0x0b,
            b'\n' => return Ok(()),
            b'x' if self.peek().is_some_and(|c| c.is_ascii_hexdigit()) => self.digits(16, 2, 0)?,
            b'0'..=b'7' => self.digits(8, 2, u32::from(byte - b'0'))?,
            b'8' | b'9' => return Err("a backslash with digits that are not octal"),
            other => other,
        };
        word.push(plain);
        Ok(())
    }

    fn digits(&mut self, radix: u32, most: usize, first: u32) -> Result<u8, &'static str> {
        let mut value = first;
        for _ in 0..most {
            let Some(digit) = self.peek().and_then(|c| char::from(c).to_digit(radix)) else {
                break;
            };
            value = value * radix + digit;
            self.bump();
        }
        if radix == 8 && self.peek().is_some_and(|c| c.is_ascii_digit()) && value > 0o37 {
            return Err("a backslash with too many digits");
        }
        u8::try_from(value).map_err(|_| "a backslash with a number above 255")
    }

    /// `${NAME}` or `${NAME:-default}`; a variable that is not set is empty.
    fn variable(&mut self, env: &Env, word: &mut Bytes) -> Result<(), Problem> {
        let inner = &self.rest()[2..];
        let len = inner
            .iter()
            .position(|c| *c == b'}' || *c == b'\n')
            .filter(|at| inner[*at] == b'}')
            .ok_or_else(|| self.problem("a ${ has no }"))?;
        let inner = &inner[..len];
        self.pos += len + 3;
        let split = inner.windows(2).position(|pair| pair == b":-");
        let (name, default) = split.map_or((inner, &[][..]), |at| (&inner[..at], &inner[at + 2..]));
        let value = std::str::from_utf8(name)
            .ok()
            .and_then(|name| env.get(name))
            .unwrap_or(default);
        if word.len() + value.len() > caps::STRING_MAX {
            return Err(self.problem("a string becomes too long"));
        }
        word.extend_from_slice(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Token> {
        let mut env = Env::new();
        env.set("X", "value of x");
        let mut lexer = Lexer::new(text.as_bytes());
        let mut tokens = Vec::new();
        loop {
            match lexer.next(&env).unwrap() {
                Token::End => return tokens,
                token => tokens.push(token),
            }
        }
    }

    fn word(text: &str) -> Token {
        Token::Word(text.as_bytes().to_vec())
    }

    #[test]
    fn comments_and_punctuation_end_words() {
        assert_eq!(
            words("a=b//c # d\n/* e\n*/ x{} += f(g,h) // end"),
            [
                word("a"),
                Token::Equals,
                word("b//c"),
                word("x"),
                Token::Open,
                Token::Close,
                Token::PlusEquals,
                word("f"),
                Token::ParenOpen,
                word("g"),
                Token::Comma,
                word("h"),
                Token::ParenClose,
            ]
        );
    }

    #[test]
    fn escapes_and_variables_are_those_of_the_format() {
        assert_eq!(
            words(r#""\x41\102C\n\q\"\\" 'a\'b\n${X}'"#),
            [word("ABC\nq\"\\"), word("a'b\\n${X}")]
        );
        assert_eq!(
            words(r#"${X} "<${X}>" "${NO}" "${NO:-d}" "\${X}" "${X:-d}""#),
            [
                word("value of x"),
                word("<value of x>"),
                word(""),
                word("d"),
                word("${X}"),
                word("value of x")
            ]
        );
        assert!(Lexer::new(br#""\9""#).next(&Env::new()).is_err());
        assert!(Lexer::new(br#""\777""#).next(&Env::new()).is_err());
    }
}
