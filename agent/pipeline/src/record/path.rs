//! Names of fields inside of fields: `a.b`, `a."b.c"`.
//!
//! A path leads through maps only. A missing field is never an error here; one that is something
//! else than a map where a map is needed is.

use std::fmt;

use super::{DEPTH_MAX, Fields, Value};

/// How many names a path may have.
const SEGMENT_COUNT_MAX: usize = 16;

/// Where a field is; at least one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    parents: Vec<String>,
    name: String,
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// A name is missing before this byte, counted from 1.
    EmptyName {
        /// Where.
        column: usize,
    },
    /// A quote that was opened at this byte has no end.
    Unclosed {
        /// Where.
        column: usize,
    },
    /// Something else than a dot follows a quoted name.
    AfterQuote {
        /// Where.
        column: usize,
    },
    /// More names than a path may have.
    TooLong {
        /// How many.
        count: usize,
    },
}

/// Why a field could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetError {
    /// A field on the way is there and is no map.
    NotAMap {
        /// Its name.
        name: String,
    },
    /// The value would lie deeper than [`DEPTH_MAX`].
    TooDeep,
}

impl Path {
    /// Reads `a.b`, `a."b.c"` or, as expressions write it, `."a.b"`; inside of quotes `\"` is a quote.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut names = Vec::new();
        let mut rest = text.strip_prefix('.').unwrap_or(text);
        loop {
            let column = text.len().saturating_sub(rest.len()).saturating_add(1);
            let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
                unquote(quoted).ok_or(PathError::Unclosed { column })?
            } else {
                let (name, after) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
                (name.to_owned(), after)
            };
            if name.is_empty() {
                return Err(PathError::EmptyName { column });
            }
            names.push(name);
            if after.is_empty() {
                return Self::from_names(names);
            }
            rest = after.strip_prefix('.').ok_or(PathError::AfterQuote {
                column: text.len().saturating_sub(after.len()).saturating_add(1),
            })?;
        }
    }

    /// The path of these names, outermost first.
    pub fn from_names(mut names: Vec<String>) -> Result<Self, PathError> {
        let count = names.len();
        if count > SEGMENT_COUNT_MAX {
            return Err(PathError::TooLong { count });
        }
        let name = names.pop().ok_or(PathError::EmptyName { column: 1 })?;
        Ok(Self {
            parents: names,
            name,
        })
    }

    /// The names, outermost first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parents
            .iter()
            .chain(std::iter::once(&self.name))
            .map(String::as_str)
    }

    /// The only name of a path that has one.
    pub fn single(&self) -> Option<&str> {
        self.parents.is_empty().then_some(self.name.as_str())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.names().enumerate() {
            if place > 0 {
                f.write_str(".")?;
            }
            if name.contains(['.', '"', '\\']) {
                write!(f, "{name:?}")?;
            } else {
                f.write_str(name)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyName { column } => write!(f, "a field name is missing at column {column}"),
            Self::Unclosed { column } => write!(f, "the quote at column {column} is not closed"),
            Self::AfterQuote { column } => {
                write!(f, "expected a dot after the quoted name at column {column}")
            }
            Self::TooLong { count } => write!(
                f,
                "a path of {count} names exceeds the limit of {SEGMENT_COUNT_MAX}"
            ),
        }
    }
}

impl std::error::Error for PathError {}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAMap { name } => write!(f, "field {name:?} is not a map"),
            Self::TooDeep => write!(f, "the value would lie deeper than {DEPTH_MAX} levels"),
        }
    }
}

impl std::error::Error for SetError {}

impl Fields {
    /// The value at `path`.
    pub fn get_path(&self, path: &Path) -> Option<&Value> {
        let mut fields = self;
        for parent in &path.parents {
            let Value::Map(inner) = fields.get(parent)? else {
                return None;
            };
            fields = inner;
        }
        fields.get(&path.name)
    }

    /// The value at `path`, to be changed.
    pub fn get_path_mut(&mut self, path: &Path) -> Option<&mut Value> {
        self.parent_mut(path)?.get_mut(&path.name)
    }

    /// Sets what is at `path`, making the maps on the way that are missing.
    pub fn set_path(&mut self, path: &Path, value: Value) -> Result<(), SetError> {
        if value.depth().saturating_add(path.parents.len()) >= DEPTH_MAX {
            return Err(SetError::TooDeep);
        }
        let mut fields = self;
        for parent in &path.parents {
            if fields.get(parent).is_none() {
                fields.insert(parent.as_str(), Value::Map(Self::new()));
            }
            let Some(Value::Map(inner)) = fields.get_mut(parent) else {
                return Err(SetError::NotAMap {
                    name: parent.clone(),
                });
            };
            fields = inner;
        }
        fields.insert(path.name.as_str(), value);
        Ok(())
    }

    /// Takes out what is at `path`.
    pub fn remove_path(&mut self, path: &Path) -> Option<Value> {
        self.parent_mut(path)?.remove(&path.name)
    }

    fn parent_mut(&mut self, path: &Path) -> Option<&mut Self> {
        let mut fields = self;
        for parent in &path.parents {
            let Value::Map(inner) = fields.get_mut(parent)? else {
                return None;
            };
            fields = inner;
        }
        Some(fields)
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Self::Map(fields)
    }
}

/// The name up to the closing quote, and what follows it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((name, chars.as_str())),
            '\\' => name.push(chars.next()?),
            other => name.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &Result<&[&str], PathError>) {
        let path = Path::parse(text);
        let names = path.as_ref().map(|path| path.names().collect::<Vec<_>>());
        assert_eq!(
            &names.as_deref().map_err(|error| (*error).clone()),
            expected,
            "{text}"
        );
        if let Ok(path) = path {
            assert_eq!(Path::parse(&path.to_string()).as_ref(), Ok(&path), "{text}");
        }
    }

    #[test]
    fn paths_are_read() {
        check("a", &Ok(&["a"]));
        check("a.b.c", &Ok(&["a", "b", "c"]));
        check("@time-stamp", &Ok(&["@time-stamp"]));
        check(r#"a."b.c".d"#, &Ok(&["a", "b.c", "d"]));
        check(r#"."a.b""#, &Ok(&["a.b"]));
        check(r#""a\"b""#, &Ok(&["a\"b"]));
        check("", &Err(PathError::EmptyName { column: 1 }));
        check("a.", &Err(PathError::EmptyName { column: 3 }));
        check("a..b", &Err(PathError::EmptyName { column: 3 }));
        check(r#"a."b"#, &Err(PathError::Unclosed { column: 3 }));
        check(r#""a"b"#, &Err(PathError::AfterQuote { column: 4 }));
        check(&"a.".repeat(20), &Err(PathError::EmptyName { column: 41 }));
        check(
            "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a",
            &Err(PathError::TooLong { count: 17 }),
        );
    }

    #[test]
    fn values_are_set_found_and_taken_along_a_path() {
        let mut fields = Fields::new();
        let path = Path::parse("a.b.c").unwrap();
        assert_eq!(fields.get_path(&path), None);
        assert_eq!(fields.remove_path(&path), None);
        assert_eq!(fields.set_path(&path, Value::Int(1)), Ok(()));
        assert_eq!(fields.get_path(&path), Some(&Value::Int(1)));
        assert_eq!(fields.get_path_mut(&path), Some(&mut Value::Int(1)));
        let through_a_number = Path::parse("a.b.c.d").unwrap();
        assert_eq!(fields.get_path(&through_a_number), None);
        assert_eq!(
            fields.set_path(&through_a_number, Value::Null),
            Err(SetError::NotAMap {
                name: "c".to_owned()
            })
        );
        assert_eq!(fields.remove_path(&path), Some(Value::Int(1)));
        assert_eq!(fields.get_path(&path), None);
    }

    #[test]
    fn a_path_cannot_build_without_end() {
        let path = Path::parse("a.b.c.d.e.f.g.h").unwrap();
        let mut fields = Fields::new();
        let mut refused = false;
        for _ in 0..DEPTH_MAX {
            let value = Value::Map(fields.clone());
            match fields.set_path(&path, value) {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error, SetError::TooDeep);
                    refused = true;
                }
            }
        }
        assert!(refused);
        assert!(Value::Map(fields).depth() <= DEPTH_MAX);
    }
}
