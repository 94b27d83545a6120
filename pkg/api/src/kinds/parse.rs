//! Reads the `K` and `S` rows of the committed table. Their columns are described in `generate/kinds.py`.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Kind, Subresource};
use crate::schema::{self, TypeId};

/// Names occur many times (groups, versions, verbs): each is kept once.
#[derive(Default)]
struct Names(HashMap<&'static str, Arc<str>>);

impl Names {
    /// The shared copy of a column; `-` stands for nothing.
    fn one(&mut self, column: &'static str) -> Arc<str> {
        let text = if column == "-" { "" } else { column };
        self.0.entry(text).or_insert_with(|| Arc::from(text)).clone()
    }

    fn many(&mut self, column: &'static str) -> Vec<Arc<str>> {
        if column == "-" {
            Vec::new()
        } else {
            column.split(',').map(|name| self.one(name)).collect()
        }
    }

    fn verbs(&mut self, column: &'static str) -> Vec<Arc<str>> {
        column
            .chars()
            .filter_map(verb)
            .map(|name| self.one(name))
            .collect()
    }
}

/// Types by group, version and kind as the table spells them.
struct TypesByKind(HashMap<(&'static str, &'static str, &'static str), TypeId>);

impl TypesByKind {
    fn new() -> TypesByKind {
        let mut types = HashMap::new();
        for (id, ty) in schema::builtin_types() {
            for gvk in &ty.kinds {
                types.insert((&*gvk.group, &*gvk.version, &*gvk.kind), id);
            }
        }
        TypesByKind(types)
    }

    fn get(&self, (group, version, kind): &(&'static str, &'static str, &'static str)) -> Option<TypeId> {
        let group = if *group == "-" { "" } else { group };
        self.0.get(&(group, *version, *kind)).copied()
    }
}

fn verb(letter: char) -> Option<&'static str> {
    Some(match letter {
        'c' => "create",
        'd' => "delete",
        'D' => "deletecollection",
        'g' => "get",
        'l' => "list",
        'p' => "patch",
        'u' => "update",
        'w' => "watch",
        _ => return None,
    })
}

pub(super) fn kinds(table: &'static str) -> Vec<Arc<Kind>> {
    let mut names = Names::default();
    let types = TypesByKind::new();
    let mut kinds: Vec<Kind> = Vec::new();
    for line in table.lines() {
        let mut columns = line.split(' ');
        let mut next = || columns.next().unwrap_or("-");
        match next() {
            "K" => kinds.push(kind(&mut names, &types, next)),
            // A subresource's row follows its resource's.
            "S" => {
                let sub = subresource(&mut names, &types, next);
                if let Some(kind) = kinds.last_mut() {
                    kind.subresources.push(sub);
                }
            }
            _ => {}
        }
    }
    kinds.into_iter().map(Arc::new).collect()
}

fn kind(names: &mut Names, types: &TypesByKind, mut next: impl FnMut() -> &'static str) -> Kind {
    let (group, version, plural, kind, list_kind) = (next(), next(), next(), next(), next());
    let (singular, scope, verbs, short_names, categories, hash) =
        (next(), next(), next(), next(), next(), next());
    Kind {
        group: names.one(group),
        version: names.one(version),
        kind: names.one(kind),
        list_kind: names.one(list_kind),
        plural: names.one(plural),
        singular: names.one(singular),
        short_names: names.many(short_names),
        categories: names.many(categories),
        namespaced: scope == "N",
        verbs: names.verbs(verbs),
        subresources: Vec::new(),
        schema: types.get(&(group, version, kind)),
        list_schema: types.get(&(group, version, list_kind)),
        storage_version_hash: names.one(hash),
    }
}

fn subresource(
    names: &mut Names,
    types: &TypesByKind,
    mut next: impl FnMut() -> &'static str,
) -> Subresource {
    let (name, group, version, kind, verbs) = (next(), next(), next(), next(), next());
    Subresource {
        name: names.one(name),
        group: names.one(group),
        version: names.one(version),
        kind: names.one(kind),
        verbs: names.verbs(verbs),
        schema: types.get(&(group, version, kind)),
    }
}
