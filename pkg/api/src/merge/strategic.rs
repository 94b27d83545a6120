//! Strategic merge patch.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::MergeError;
use super::order::{arrange, identity};
use crate::schema::{Field, Shape, Strategy, TypeId, Types};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

pub(super) fn merge(root: TypeId, target: &mut Value, patch: &Value) -> Result<(), MergeError> {
    let types = Types::of(root);
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else {
        return Err(MergeError::NotAnObject);
    };
    Merge { types: &types }.map(target, patch, Some(&Shape::Object(root)))
}

#[derive(Clone, Copy)]
struct Merge<'m> {
    types: &'m Types,
}

/// How the schema says a field merges. What the schema does not know merges like JSON.
#[derive(Clone, Copy, Default)]
struct Rule<'t> {
    shape: Option<&'t Shape>,
    strategy: Strategy,
    key: Option<&'t str>,
}

impl<'t> Rule<'t> {
    fn of(field: &'t Field) -> Rule<'t> {
        let extra = field.extra();
        Rule {
            shape: Some(&field.shape),
            strategy: extra.map_or(Strategy::Default, |extra| extra.strategy),
            key: extra.and_then(|extra| extra.merge_key.as_deref()),
        }
    }

    fn element(self) -> Option<&'t Shape> {
        match self.shape {
            Some(Shape::List(element)) => Some(element),
            _ => None,
        }
    }
}

impl<'m> Merge<'m> {
    fn rule(self, parent: Option<&'m Shape>, name: &str) -> Rule<'m> {
        match parent {
            Some(Shape::Object(id)) => self.types.get(*id).field(name).map(Rule::of).unwrap_or_default(),
            Some(Shape::Map(value)) => Rule {
                shape: Some(value),
                ..Rule::default()
            },
            _ => Rule::default(),
        }
    }

    fn map(self, target: &mut Object, patch: &Object, shape: Option<&Shape>) -> Result<(), MergeError> {
        // Rules borrow from the schema or from `shape`, which both outlive this call.
        let this: Merge<'_> = Merge { types: self.types };
        match patch.get(PATCH).map(Value::as_str) {
            None => {}
            Some(Some("replace")) => {
                *target = patch.clone();
                target.remove(PATCH);
                return Ok(());
            }
            Some(Some("delete")) => {
                target.clear();
                return Ok(());
            }
            Some(_) => return Err(unknown_directive(patch)),
        }
        retain_keys(target, patch)?;
        let ordered = this.ordered_lists(target, patch, shape)?;
        for (key, value) in patch {
            if key == RETAIN_KEYS || key.starts_with(SET_ELEMENT_ORDER) || ordered.contains(key.as_str()) {
                continue;
            }
            if let Some(name) = key.strip_prefix(DELETE_FROM_LIST) {
                delete_from_list(target, name, value)?;
                continue;
            }
            this.field(target, key, value, this.rule(shape, key))?;
        }
        Ok(())
    }

    fn field(self, target: &mut Object, key: &str, value: &Value, rule: Rule<'_>) -> Result<(), MergeError> {
        match (target.get_mut(key), value) {
            (_, Value::Null) => {
                target.remove(key);
            }
            (Some(Value::Object(known)), Value::Object(patch)) => {
                if rule.strategy == Strategy::Replace {
                    *known = patch.clone();
                } else {
                    self.map(known, patch, rule.shape)?;
                }
            }
            (Some(Value::Array(known)), Value::Array(patch)) => {
                let merged = self.list(std::mem::take(known), patch, rule)?;
                *known = merged;
            }
            _ => {
                match plain(value) {
                    Some(value) => target.insert(key.to_owned(), value),
                    None => target.remove(key),
                };
            }
        }
        Ok(())
    }

    fn list(self, known: Vec<Value>, patch: &[Value], rule: Rule<'_>) -> Result<Vec<Value>, MergeError> {
        if rule.strategy != Strategy::Merge {
            return Ok(patch.to_vec());
        }
        match element_kind(&known, patch)? {
            None => Ok(known),
            Some(ElementKind::Scalar) => {
                let mut merged = known.clone();
                merged.extend(patch.iter().cloned());
                Ok(arrange(without_repeats(merged), patch, &known, None))
            }
            Some(ElementKind::Map) => self.list_of_maps(known, patch, rule),
        }
    }

    fn list_of_maps(
        self,
        mut known: Vec<Value>,
        patch: &[Value],
        rule: Rule<'_>,
    ) -> Result<Vec<Value>, MergeError> {
        let key = rule.key.ok_or_else(|| MergeError::NoMergeKey {
            map: Value::Null,
            key: String::new(),
        })?;
        let (plain_patch, replace) = obey_list_directives(&mut known, patch, key)?;
        if replace {
            return Ok(plain_patch.into_iter().cloned().collect());
        }
        let server_order = known.clone();
        let mut merged = known;
        for element in &plain_patch {
            let wanted = merge_key(element, key)?;
            let found = merged.iter_mut().find(|known| known.get(key) == Some(wanted));
            match (found, *element) {
                (Some(Value::Object(found)), Value::Object(patch)) => {
                    self.map(found, patch, rule.element())?
                }
                _ => merged.extend(plain(element)),
            }
        }
        for element in &merged {
            merge_key(element, key)?;
        }
        let patch_order: Vec<Value> = plain_patch.into_iter().cloned().collect();
        Ok(arrange(merged, &patch_order, &server_order, Some(key)))
    }

    /// Merges the lists that a `$setElementOrder` is for and puts them in order. Gives their names.
    fn ordered_lists<'p>(
        self,
        target: &mut Object,
        patch: &'p Object,
        shape: Option<&Shape>,
    ) -> Result<HashSet<&'p str>, MergeError> {
        let mut done = HashSet::new();
        for (directive, order) in patch {
            let Some(name) = directive.strip_prefix(SET_ELEMENT_ORDER) else {
                continue;
            };
            let rule = Merge { types: self.types }.rule(shape, name);
            let order = order.as_array().ok_or(MergeError::SetElementOrder)?;
            let patched = match patch.get(name) {
                None => None,
                Some(Value::Array(list)) => Some(list),
                // A null deletes the list: nothing is left to put in order.
                Some(Value::Null) => continue,
                Some(_) => return Err(MergeError::SetElementOrder),
            };
            if let Some(patched) = patched {
                same_order(patched, order, rule.key)?;
            }
            let known = match target.get(name) {
                Some(Value::Array(list)) => Some(list.clone()),
                Some(Value::Null) | None => None,
                Some(_) => return Err(MergeError::SetElementOrder),
            };
            let merged = match (&known, patched) {
                (None, None) => continue,
                (Some(known), None) => known.clone(),
                (None, Some(patched)) => patched.iter().filter_map(plain).collect(),
                (Some(known), Some(patched)) => self.list(known.clone(), patched, rule)?,
            };
            let merged = arrange(merged, order, known.as_deref().unwrap_or_default(), rule.key);
            target.insert(name.to_owned(), Value::Array(merged));
            done.insert(name);
        }
        Ok(done)
    }
}

/// Drops the fields of the target that `$retainKeys` does not name.
fn retain_keys(target: &mut Object, patch: &Object) -> Result<(), MergeError> {
    let Some(keys) = patch.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let keys: HashSet<&str> = keys
        .as_array()
        .ok_or(MergeError::RetainKeys)?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let directive = |name: &str| name.starts_with(SET_ELEMENT_ORDER) || name.starts_with(DELETE_FROM_LIST);
    for (name, value) in patch {
        if name != RETAIN_KEYS && !value.is_null() && !directive(name) && !keys.contains(name.as_str()) {
            return Err(MergeError::RetainKeys);
        }
    }
    target.retain(|name, _| keys.contains(name.as_str()));
    Ok(())
}

fn delete_from_list(target: &mut Object, name: &str, removed: &Value) -> Result<(), MergeError> {
    let removed = removed.as_array().ok_or(MergeError::PrimitiveList)?;
    if let Some(Value::Array(list)) = target.get_mut(name) {
        list.retain(|element| !removed.contains(element));
    }
    Ok(())
}

/// Obeys `$patch` in the elements of a list; gives the elements without it, and whether they replace all.
fn obey_list_directives<'p>(
    known: &mut Vec<Value>,
    patch: &'p [Value],
    key: &str,
) -> Result<(Vec<&'p Value>, bool), MergeError> {
    let (mut plain, mut replace) = (Vec::new(), false);
    for element in patch {
        match element.get(PATCH).map(Value::as_str) {
            None => plain.push(element),
            Some(Some("delete")) => {
                let wanted = merge_key(element, key)?;
                known.retain(|known| known.get(key) != Some(wanted));
            }
            Some(Some("replace")) => replace = true,
            Some(Some("merge")) => return Err(MergeError::MergeDirectiveInList),
            Some(_) => {
                return Err(element
                    .as_object()
                    .map_or(MergeError::NotAnObject, unknown_directive));
            }
        }
    }
    Ok((plain, replace))
}

fn merge_key<'v>(element: &'v Value, key: &str) -> Result<&'v Value, MergeError> {
    element.get(key).ok_or_else(|| MergeError::NoMergeKey {
        map: element.clone(),
        key: key.to_owned(),
    })
}

fn unknown_directive(map: &Object) -> MergeError {
    MergeError::UnknownDirective {
        directive: map[PATCH].clone(),
        map: Value::Object(map.clone()),
    }
}

/// The patch's elements must come in the order of the directive.
fn same_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), MergeError> {
    if order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for element in patch.iter().filter(|element| element.get(PATCH).is_none()) {
        let wanted = identity(element, key);
        if !rest.any(|known| identity(known, key) == wanted) {
            let (patch, order) = (Value::from(patch.to_vec()), Value::from(order.to_vec()));
            return Err(MergeError::Order { patch, order });
        }
    }
    Ok(())
}

enum ElementKind {
    Map,
    Scalar,
}

fn element_kind(known: &[Value], patch: &[Value]) -> Result<Option<ElementKind>, MergeError> {
    let mut first: Option<&Value> = None;
    for element in known.iter().chain(patch) {
        let same = |first: &Value| std::mem::discriminant(first) == std::mem::discriminant(element);
        match first {
            None if element.is_array() => return Err(MergeError::ListOfLists),
            None => first = Some(element),
            Some(first) if same(first) => {}
            Some(_) => {
                return Err(MergeError::MixedList(
                    known.iter().chain(patch).cloned().collect(),
                ));
            }
        }
    }
    Ok(first.map(|first| {
        if first.is_object() {
            ElementKind::Map
        } else {
            ElementKind::Scalar
        }
    }))
}

fn without_repeats(list: Vec<Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::with_capacity(list.len());
    for element in list {
        if !kept.contains(&element) {
            kept.push(element);
        }
    }
    kept
}

/// A value of the patch where the target has none: without nulls and directives. `None` when the value is
/// nothing but a directive.
fn plain(value: &Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(PATCH) => None,
        Value::Object(map) => {
            let fields = map
                .iter()
                .filter(|(name, value)| !value.is_null() && !is_directive(name));
            Some(
                fields
                    .filter_map(|(name, value)| Some((name.clone(), plain(value)?)))
                    .collect(),
            )
        }
        Value::Array(list) => Some(list.iter().filter_map(plain).collect()),
        _ => Some(value.clone()),
    }
}

fn is_directive(name: &str) -> bool {
    name == RETAIN_KEYS || name.starts_with(SET_ELEMENT_ORDER) || name.starts_with(DELETE_FROM_LIST)
}
