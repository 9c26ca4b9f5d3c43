//! A section of a config with the values of its options.

use super::{
    Bytes,
    schema::{Kind, OptionSpec, SectionSpec},
};

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(Bytes),
    Number(i64),
    Flag(bool),
    List(Vec<Bytes>),
    Numbers(Vec<i64>),
}

/// A section: the options that were given and the sections inside.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) spec: &'static SectionSpec,
    pub(crate) title: Bytes,
    pub(crate) line: usize,
    values: Vec<Option<Value>>,
    pub(crate) children: Vec<Section>,
}

impl Section {
    pub(crate) fn new(spec: &'static SectionSpec, title: Bytes, line: usize) -> Self {
        Self {
            spec,
            title,
            line,
            values: vec![None; spec.options.len()],
            children: Vec::new(),
        }
    }

    /// The options of the schema with the values given.
    pub(crate) fn options(&self) -> impl Iterator<Item = (&'static OptionSpec, Option<&Value>)> {
        self.spec.options.iter().zip(self.values.iter().map(Option::as_ref))
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.spec.options.iter().position(|option| option.name == name)
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.index(name).and_then(|at| self.values[at].as_ref())
    }

    /// Sets an option; false when the schema has none of that name.
    pub(crate) fn set(&mut self, name: &str, value: Value) -> bool {
        let Some(at) = self.index(name) else { return false };
        self.values[at] = Some(value);
        true
    }

    /// A text that was given.
    pub(crate) fn text(&self, name: &str) -> Option<&[u8]> {
        match self.value(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A number that was given.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// A flag; false when it was not given.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Flag(true)))
    }

    /// A list of words; empty when it was not given.
    pub(crate) fn list(&self, name: &str) -> &[Bytes] {
        match self.value(name) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    /// A list of numbers; empty when it was not given.
    pub(crate) fn numbers(&self, name: &str) -> &[i64] {
        match self.value(name) {
            Some(Value::Numbers(list)) => list,
            _ => &[],
        }
    }

    /// Appends words to a list.
    pub(crate) fn append(&mut self, name: &str, words: impl IntoIterator<Item = Bytes>) {
        let Some(at) = self.index(name) else { return };
        debug_assert!(matches!(self.spec.options[at].kind, Kind::List));
        if let Value::List(list) = self.values[at].get_or_insert_with(|| Value::List(Vec::new())) {
            list.extend(words);
        }
    }

    /// The sections of one kind, in their order.
    pub(crate) fn sections<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Section> {
        self.children.iter().filter(move |child| child.spec.name == name)
    }

    /// The section of a kind with a title; an untitled section has the empty title.
    pub(crate) fn find(&self, name: &str, title: &[u8]) -> Option<&Section> {
        self.children
            .iter()
            .find(|child| child.spec.name == name && child.title == title)
    }
}
