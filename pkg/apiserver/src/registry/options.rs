//! The options of writes: dryRun, fieldManager, fieldValidation, and those of deletes.

use crate::rules::FieldValidation;
use kobune_api::fields::FieldError;
use kobune_api::status::Status;
use serde_json::Value;

use crate::http::query::Query;

const GROUP: &str = "meta.k8s.io";

/// `CreateOptions`, `UpdateOptions` and `PatchOptions`.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions<'q> {
    /// Do everything but store it.
    pub dry_run: bool,
    /// What to do with unknown and duplicate fields.
    pub validation: FieldValidation,
    /// Who is recorded as having set the fields; empty: from the User-Agent.
    pub manager: &'q str,
    /// For an apply: take over the fields of others.
    pub force: Option<bool>,
    /// The object is the result of an apply, which has written down its manager already.
    pub applied: bool,
}

impl<'q> WriteOptions<'q> {
    /// Reads the options of a query; `kind` is their name in error messages.
    pub fn parse(query: &'q Query<'_>, kind: &str) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let validation = match query.text("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Strict") => FieldValidation::Strict,
            Some("Ignore") => FieldValidation::Ignore,
            Some(other) => {
                errors.push(FieldError::not_supported(
                    "fieldValidation",
                    other,
                    &["", "Ignore", "Strict", "Warn"],
                ));
                FieldValidation::Warn
            }
        };
        let manager = query.get("fieldManager").unwrap_or("");
        if manager.chars().count() > 128 {
            errors.push(FieldError::too_long("fieldManager", 128));
        }
        if manager.chars().any(char::is_control) {
            errors.push(FieldError::invalid(
                "fieldManager",
                manager,
                "should only contain printable characters",
            ));
        }
        if !errors.is_empty() {
            return Err(Status::invalid((GROUP, kind), "", &errors));
        }
        Ok(Self {
            dry_run,
            validation,
            manager,
            force: query.optional_flag("force"),
            applied: false,
        })
    }
}

fn dry_run<'t>(values: impl Iterator<Item = &'t str>, errors: &mut Vec<FieldError>) -> bool {
    let mut all = false;
    for value in values {
        match value {
            "All" => all = true,
            // Upstream's clients send an empty value for "not dry".
            "" => {}
            other => errors.push(FieldError::not_supported("dryRun", other, &["All"])),
        }
    }
    all
}

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They lose their owner and stay.
    Orphan,
    /// They go after the owner.
    Background,
    /// They go before the owner.
    Foreground,
}

/// `DeleteOptions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Do everything but store it.
    pub dry_run: bool,
    /// Seconds of grace; `None` for the kind's own.
    pub grace: Option<i64>,
    /// The deprecated way to say Orphan (true) or Background (false).
    pub orphan_dependents: Option<bool>,
    /// What becomes of the dependents.
    pub propagation: Option<Propagation>,
    /// Delete only the object with this uid.
    pub uid: Option<String>,
    /// Delete only the object at this version.
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads them from a query, for deletes without a body.
    pub fn from_query(query: &Query<'_>) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let options = Self {
            dry_run: dry_run(query.all("dryRun"), &mut errors),
            grace: query.integer("gracePeriodSeconds").map_err(Status::bad_request)?,
            orphan_dependents: query.optional_flag("orphanDependents"),
            propagation: propagation(query.text("propagationPolicy"), &mut errors),
            uid: None,
            resource_version: None,
        };
        options.checked(errors)
    }

    /// Reads them from a decoded `DeleteOptions` object.
    pub fn from_object(object: &Value) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let text = |path: &[&str]| crate::object::at(object, path).and_then(Value::as_str);
        let values = crate::object::elements(object, &["dryRun"]);
        let options = Self {
            dry_run: dry_run(values.iter().filter_map(Value::as_str), &mut errors),
            grace: crate::object::integer(object, &["gracePeriodSeconds"]),
            orphan_dependents: object.get("orphanDependents").and_then(Value::as_bool),
            propagation: propagation(text(&["propagationPolicy"]), &mut errors),
            uid: text(&["preconditions", "uid"]).map(str::to_owned),
            resource_version: text(&["preconditions", "resourceVersion"]).map(str::to_owned),
        };
        options.checked(errors)
    }

    fn checked(self, mut errors: Vec<FieldError>) -> Result<Self, Status> {
        if self.propagation.is_some() && self.orphan_dependents.is_some() {
            errors.push(FieldError::invalid(
                "propagationPolicy",
                format!("{:?}", self.propagation.unwrap_or(Propagation::Background)),
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        if errors.is_empty() {
            Ok(self)
        } else {
            Err(Status::invalid((GROUP, "DeleteOptions"), "", &errors))
        }
    }
}

fn propagation(text: Option<&str>, errors: &mut Vec<FieldError>) -> Option<Propagation> {
    match text {
        None => None,
        Some("Orphan") => Some(Propagation::Orphan),
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some(other) => {
            let all = ["Background", "Foreground", "Orphan", "nil"];
            errors.push(FieldError::not_supported("propagationPolicy", other, &all));
            None
        }
    }
}
