//! Putting tokens together to sections, with the schema's help.

use super::{
    Bytes, Lexer, Section, Token, Value, number,
    schema::{Kind, ROOT},
    text,
};
use crate::{caps, env::Env};

/// What is wrong with a config, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The included file; None for the one that was begun with.
    pub(crate) file: Option<String>,
    pub(crate) line: usize,
    pub(crate) reason: String,
}

/// A file whose statements take the place of an `include()`.
#[derive(Debug)]
pub(crate) struct Included {
    pub(crate) file: String,
    pub(crate) text: Bytes,
}

/// Who reads a config: what its variables and calls mean.
pub(crate) trait Host {
    /// The variables as they are now.
    fn env(&self) -> &Env;
    /// Whether an unknown option or section is an error.
    fn strict(&self) -> bool;
    /// Does what `name(args)` says in a section.
    fn call(&mut self, section: &mut Section, name: &str, args: Vec<Bytes>) -> Result<Option<Included>, String>;
    /// The file of the last `include()` has been read.
    fn include_ended(&mut self) {}
    /// Checks and completes a section at its closing brace.
    fn closed(&mut self, section: &mut Section) -> Result<(), String>;
}

/// Reads a whole config.
pub(crate) fn parse(text: &[u8], host: &mut dyn Host) -> Result<Section, Problem> {
    let mut root = Section::new(&ROOT, Bytes::new(), 1);
    Parser {
        lexer: Lexer::new(text),
        host,
        includes: 0,
    }
    .items(&mut root, 0, &Token::End)?;
    Ok(root)
}

struct Parser<'a, 'h> {
    lexer: Lexer<'a>,
    host: &'h mut dyn Host,
    includes: usize,
}

impl Parser<'_, '_> {
    fn next(&mut self) -> Result<Token, Problem> {
        self.lexer.next(self.host.env())
    }

    /// Statements up to `end`.
    fn items(&mut self, section: &mut Section, depth: usize, end: &Token) -> Result<(), Problem> {
        if depth > caps::NESTING_MAX {
            return Err(self.lexer.problem("sections are nested too deep"));
        }
        loop {
            match self.next()? {
                token if token == *end => return Ok(()),
                Token::Word(name) => self.statement(section, &text(&name), depth)?,
                Token::End => return Err(self.lexer.problem("a closing brace is missing")),
                Token::Close => return Err(self.lexer.problem("a closing brace without an opening one")),
                _ => return Err(self.lexer.problem("expected a name")),
            }
        }
    }

    fn statement(&mut self, section: &mut Section, name: &str, depth: usize) -> Result<(), Problem> {
        match self.next()? {
            Token::Equals => self.assignment(section, name, false),
            Token::PlusEquals => self.assignment(section, name, true),
            Token::ParenOpen => self.call(section, name, depth),
            Token::Open => self.section(section, name, Bytes::new(), depth),
            Token::Word(title) => match self.next()? {
                Token::Open => self.section(section, name, title, depth),
                _ => Err(self
                    .lexer
                    .problem(format!("expected {{ behind {name} {}", text(&title)))),
            },
            _ => Err(self.lexer.problem(format!("expected =, ( or {{ behind {name}"))),
        }
    }

    fn assignment(&mut self, section: &mut Section, name: &str, append: bool) -> Result<(), Problem> {
        let words = match self.next()? {
            Token::Word(word) => vec![word],
            Token::Open => self.words(&Token::Close)?,
            _ => return Err(self.lexer.problem(format!("expected a value for {name}"))),
        };
        let Some(spec) = section.spec.options.iter().find(|option| option.name == name) else {
            return self.unknown(section, "option", name);
        };
        let bad = |what: &str| self.lexer.problem(format!("{name} must be {what}"));
        let number = |word: &Bytes| number::parse_i64(word).ok_or_else(|| bad("a number"));
        let value = match (spec.kind, words.as_slice()) {
            (Kind::List, _) => {
                // in place, so that many additions cost no more than one
                if !append {
                    section.set(name, Value::List(Vec::new()));
                }
                section.append(name, words);
                return Ok(());
            }
            (Kind::Numbers, words) => {
                let mut list = if append {
                    section.numbers(name).to_vec()
                } else {
                    Vec::new()
                };
                for word in words {
                    list.push(number(word)?);
                }
                Value::Numbers(list)
            }
            (Kind::Text(_), [word]) => Value::Text(word.clone()),
            (Kind::Number(_), [word]) => Value::Number(number(word)?),
            (Kind::Flag, [word]) => Value::Flag(flag(word).ok_or_else(|| bad("true or false"))?),
            _ => return Err(bad("a single value")),
        };
        section.set(name, value);
        Ok(())
    }

    /// Words with commas between them, up to `end`.
    fn words(&mut self, end: &Token) -> Result<Vec<Bytes>, Problem> {
        let mut words = Vec::new();
        let mut after_word = false;
        loop {
            match self.next()? {
                token if token == *end => return Ok(words),
                Token::Word(word) if !after_word => {
                    words.push(word);
                    after_word = true;
                }
                Token::Comma if after_word => after_word = false,
                Token::End => return Err(self.lexer.problem("a list or call has no end")),
                _ => return Err(self.lexer.problem("expected words with commas between them")),
            }
        }
    }

    fn call(&mut self, section: &mut Section, name: &str, depth: usize) -> Result<(), Problem> {
        let args = self.words(&Token::ParenClose)?;
        let included = self
            .host
            .call(section, name, args)
            .map_err(|reason| self.lexer.problem(reason))?;
        let Some(included) = included else { return Ok(()) };
        if self.includes >= caps::INCLUDE_DEPTH_MAX {
            return Err(self.lexer.problem("include() is nested too deep"));
        }
        let mut inner = Parser {
            lexer: Lexer::new(&included.text),
            host: &mut *self.host,
            includes: self.includes + 1,
        };
        inner.items(section, depth, &Token::End).map_err(|mut problem| {
            problem.file.get_or_insert(included.file);
            problem
        })?;
        self.host.include_ended();
        Ok(())
    }

    fn section(&mut self, outer: &mut Section, name: &str, title: Bytes, depth: usize) -> Result<(), Problem> {
        let Some(spec) = outer.spec.sections.iter().find(|spec| spec.name == name) else {
            self.unknown(outer, "section", name)?;
            return self.skip_section(depth + 1);
        };
        if spec.titled == title.is_empty() {
            let what = if spec.titled { "needs" } else { "has no" };
            return Err(self.lexer.problem(format!("a {name} section {what} a title")));
        }
        let double = outer
            .children
            .iter()
            .position(|child| child.spec.name == name && child.title == title);
        let mut section = match double {
            Some(_) if spec.titled => {
                return Err(self.lexer.problem(format!("{name} '{}' is there twice", text(&title))));
            }
            Some(at) => outer.children.remove(at),
            None => Section::new(spec, title, self.lexer.line()),
        };
        self.items(&mut section, depth + 1, &Token::Close)?;
        self.host
            .closed(&mut section)
            .map_err(|reason| self.lexer.problem(reason))?;
        outer.children.push(section);
        Ok(())
    }

    fn unknown(&self, section: &Section, what: &str, name: &str) -> Result<(), Problem> {
        if !self.host.strict() {
            return Ok(());
        }
        let place = if section.spec.name.is_empty() {
            "here"
        } else {
            section.spec.name
        };
        Err(self.lexer.problem(format!("no {what} {name} is known {place}")))
    }

    /// Passes over an unknown section, whatever is inside.
    fn skip_section(&mut self, mut depth: usize) -> Result<(), Problem> {
        let outside = depth - 1;
        while depth > outside {
            match self.next()? {
                Token::Open => depth += 1,
                Token::Close => depth -= 1,
                Token::End => return Err(self.lexer.problem("a closing brace is missing")),
                _ => {}
            }
            if depth > caps::NESTING_MAX {
                return Err(self.lexer.problem("sections are nested too deep"));
            }
        }
        Ok(())
    }
}

fn flag(word: &[u8]) -> Option<bool> {
    let is = |names: [&str; 3]| names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
    if is(["true", "on", "yes"]) {
        return Some(true);
    }
    is(["false", "off", "no"]).then_some(false)
}
