//! Columns that a CustomResourceDefinition names itself (`additionalPrinterColumns`).

use super::{NAME, duration::human};
use crate::meta::{self, parse_time};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The columns of one version of a custom resource.
#[derive(Clone, Debug)]
pub struct CustomColumns {
    columns: Vec<CustomColumn>,
}

#[derive(Clone, Debug)]
struct CustomColumn {
    definition: Value,
    kind: String,
    path: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
}

impl CustomColumns {
    /// The columns `additional` lists; without any the object's age is shown.
    pub fn new(additional: Option<&Value>) -> Self {
        let listed = additional
            .and_then(Value::as_array)
            .filter(|list| !list.is_empty())
            .cloned();
        let listed = listed.unwrap_or_else(|| {
            let description = "Time since the object was created.";
            vec![json!({ "name": "Age", "type": "date", "description": description,
                "jsonPath": ".metadata.creationTimestamp" })]
        });
        CustomColumns {
            columns: listed.iter().map(CustomColumn::new).collect(),
        }
    }

    /// The `columnDefinitions`, the name first.
    pub fn definitions(&self) -> Value {
        std::iter::once(NAME.to_json())
            .chain(self.columns.iter().map(|c| c.definition.clone()))
            .collect()
    }

    /// The cells of one object, the name first; null where there is nothing to show.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let name = Value::from(meta::name(object));
        std::iter::once(name)
            .chain(self.columns.iter().map(|c| c.cell(object, now)))
            .collect()
    }
}

impl CustomColumn {
    fn new(listed: &Value) -> Self {
        let text = |key: &str| listed.get(key).and_then(Value::as_str).unwrap_or_default();
        let description = match text("description") {
            "" => format!(
                "Custom resource definition column (in JSONPath format): {}",
                text("jsonPath")
            ),
            given => given.to_owned(),
        };
        CustomColumn {
            definition: json!({
                "name": text("name"), "type": text("type"), "format": text("format"),
                "description": description,
                "priority": listed.get("priority").and_then(Value::as_i64).unwrap_or_default(),
            }),
            kind: text("type").to_owned(),
            path: steps(text("jsonPath")),
        }
    }

    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let Some(value) = find(object, &self.path).filter(|v| !v.is_null()) else {
            return Value::Null;
        };
        match (self.kind.as_str(), value) {
            ("string", Value::String(_)) => value.clone(),
            ("string", other) => other.to_string().into(),
            ("integer", Value::Number(number)) => {
                // A fraction is cut off, as upstream does.
                #[allow(clippy::cast_possible_truncation)]
                let whole = number.as_i64().or_else(|| number.as_f64().map(|f| f as i64));
                whole.into()
            }
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
            ("date", Value::String(text)) => match parse_time(text) {
                Some(then) => human(now.duration_since(then)).into(),
                None => "<invalid>".into(),
            },
            _ => Value::Null,
        }
    }
}

fn find<'a>(object: &'a Value, path: &[Step]) -> Option<&'a Value> {
    let mut value = object;
    for step in path {
        value = match step {
            Step::Field(field) => value.get(field)?,
            Step::Index(index) => {
                let list = value.as_array()?;
                let at = if *index < 0 {
                    i64::try_from(list.len()).ok()? + index
                } else {
                    *index
                };
                list.get(usize::try_from(at).ok()?)?
            }
        };
    }
    Some(value)
}

/// The steps of a simple JSON path: `.spec.ports[0].name`, `.metadata.annotations['a.b/c']`,
/// `.spec.a\.b`.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path
        .trim_start_matches('{')
        .trim_end_matches('}')
        .trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (inside, after) = inside.split_once(']').unwrap_or((inside, ""));
            let quoted = inside.trim_matches(['\'', '"']);
            steps.push(match inside.parse() {
                Ok(index) => Step::Index(index),
                Err(_) => Step::Field(quoted.to_owned()),
            });
            rest = after;
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let mut field = String::new();
        let mut chars = rest.char_indices();
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => field.extend(chars.next().map(|(_, c)| c)),
                '.' | '[' => {
                    end = at;
                    break;
                }
                c => field.push(c),
            }
        }
        if !field.is_empty() {
            steps.push(Step::Field(field));
        }
        rest = &rest[end..];
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_reach_fields_elements_and_dotted_keys() {
        let object = json!({"spec": {"list": [{"a": 1}, {"a": 2}], "x.y": true}});
        for (path, want) in [
            (".spec.list[0].a", json!(1)),
            (".spec.list[-1].a", json!(2)),
            (".spec['x.y']", json!(true)),
            (".spec.x\\.y", json!(true)),
            ("{.spec.list[1].a}", json!(2)),
        ] {
            assert_eq!(find(&object, &steps(path)), Some(&want), "{path}");
        }
        assert_eq!(find(&object, &steps(".spec.list[9].a")), None);
    }

    #[test]
    fn cells_have_the_type_of_their_column() {
        let columns = CustomColumns::new(Some(&json!([
            {"name": "N", "type": "integer", "jsonPath": ".spec.n"},
            {"name": "S", "type": "string", "jsonPath": ".spec.n"},
            {"name": "B", "type": "boolean", "jsonPath": ".spec.n"},
            {"name": "D", "type": "date", "jsonPath": ".metadata.creationTimestamp"}])));
        let object =
            json!({"metadata": {"name": "x", "creationTimestamp": "2026-01-02T03:04:05Z"}, "spec": {"n": 3}});
        let now = "2026-01-02T03:04:15Z".parse().unwrap();
        assert_eq!(
            columns.cells(&object, now),
            [json!("x"), json!(3), json!("3"), json!(null), json!("10s")]
        );
        assert_eq!(
            CustomColumns::new(None).cells(&object, now),
            [json!("x"), json!("10s")]
        );
    }
}
