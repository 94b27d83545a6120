//! Where the walk is, and what it found there.

use std::fmt;

use super::FieldValidation;

/// The way from the object to the value being read: a list on the call stack, so that it costs nothing
/// until a finding needs its text.
#[derive(Clone, Copy)]
pub(super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Field { owner: &'p str, name: &'p str },
    Key(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    pub(super) const ROOT: Path<'static> = Path {
        parent: None,
        step: Step::Root,
    };

    /// A field of the struct `owner`.
    pub(super) fn field<'c>(&'c self, owner: &'c str, name: &'c str) -> Path<'c> {
        Path {
            parent: Some(self),
            step: Step::Field { owner, name },
        }
    }

    pub(super) fn key<'c>(&'c self, key: &'c str) -> Path<'c> {
        Path {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    pub(super) fn index(&self, index: usize) -> Path<'_> {
        Path {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    fn steps(&self) -> Vec<Step<'_>> {
        let mut steps = Vec::new();
        let mut at = Some(self);
        while let Some(path) = at {
            steps.push(path.step);
            at = path.parent;
        }
        steps.reverse();
        steps
    }

    /// `spec.containers[0].image`: how strict decoding errors name a field.
    fn text(&self) -> String {
        let mut text = String::new();
        for step in self.steps() {
            match step {
                Step::Root => {}
                Step::Index(index) => text.push_str(&format!("[{index}]")),
                Step::Field { name, .. } | Step::Key(name) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(name);
                }
            }
        }
        text
    }

    /// `Go struct field Container.spec.containers.image`, or `Go value`: how type errors name the place.
    fn go_place(&self) -> String {
        let (mut owner, mut names) = (None, Vec::new());
        for step in self.steps() {
            if let Step::Field { owner: of, name } = step {
                owner = Some(of);
                names.push(name);
            }
        }
        match owner {
            Some(owner) => format!("Go struct field {owner}.{}", names.join(".")),
            None => "Go value".to_owned(),
        }
    }
}

/// What was found on a walk.
pub(super) struct Findings {
    strict: Vec<String>,
    wanted: bool,
    failure: Option<String>,
}

/// Why an object is refused.
pub(super) enum Verdict {
    /// A value that cannot be read.
    Failure(String),
    /// Unknown and duplicate fields.
    Strict(Vec<String>),
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Failure(text) => out.write_str(text),
            Verdict::Strict(list) => out.write_str(&super::strict_text(list)),
        }
    }
}

/// As upstream, so that a hostile body does not make a huge answer.
const MOST_FINDINGS: usize = 100;

impl Findings {
    /// `wanted`: whether unknown and duplicate fields are of interest.
    pub(super) fn new(wanted: bool) -> Findings {
        Findings {
            strict: Vec::new(),
            wanted,
            failure: None,
        }
    }

    #[cold]
    pub(super) fn unknown(&mut self, at: &Path<'_>, name: &str) {
        self.strict("unknown", at, name);
    }

    #[cold]
    pub(super) fn duplicate(&mut self, at: &Path<'_>, name: &str) {
        self.strict("duplicate", at, name);
    }

    fn strict(&mut self, what: &str, at: &Path<'_>, name: &str) {
        if !self.wanted || self.strict.len() >= MOST_FINDINGS {
            return;
        }
        let finding = format!("{what} field {:?}", at.key(name).text());
        if !self.strict.contains(&finding) {
            self.strict.push(finding);
        }
    }

    /// A value of the wrong JSON type. As in Go, the first one is reported.
    #[cold]
    pub(super) fn wrong_type(&mut self, at: &Path<'_>, found: &str, wanted: &str) {
        if self.failure.is_none() {
            let place = at.go_place();
            self.failure = Some(format!(
                "json: cannot unmarshal {found} into {place} of type {wanted}"
            ));
        }
    }

    /// A value of the right JSON type that cannot be read.
    #[cold]
    pub(super) fn unreadable(&mut self, text: String) {
        self.failure.get_or_insert(text);
    }

    pub(super) fn failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Warnings, or why the object is refused.
    pub(super) fn judge(self, mode: FieldValidation) -> Result<Vec<String>, Verdict> {
        if let Some(failure) = self.failure {
            return Err(Verdict::Failure(failure));
        }
        if mode == FieldValidation::Strict && !self.strict.is_empty() {
            return Err(Verdict::Strict(self.strict));
        }
        Ok(self.strict)
    }
}
