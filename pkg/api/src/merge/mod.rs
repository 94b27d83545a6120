//! The three patches that are not server-side apply: strategic merge, JSON merge and JSON patch.
//!
//! All of them give a plain value; [`crate::decode::prune_and_check`] then brings it to an object's form.

mod json;
mod order;
mod strategic;

use serde_json::Value;

use crate::schema::TypeId;

pub use json::{MOST_OPERATIONS, json_merge, json_patch};

/// Why a patch does not apply. Texts are upstream's where it has any.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The patch is not a JSON object.
    #[error("invalid JSON document")]
    NotAnObject,
    /// A `$patch` that is not `replace`, `delete` or `merge`.
    #[error("unknown patch type: {directive} in map: {map}")]
    UnknownDirective {
        /// What `$patch` says.
        directive: Value,
        /// The map it is in.
        map: Value,
    },
    /// An element of a merged list without the list's merge key.
    #[error("map: {map} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The element.
        map: Value,
        /// The merge key.
        key: String,
    },
    /// `$patch: merge` in a list.
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirectiveInList,
    /// `$retainKeys` is no list, or a field of the patch is not in it.
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    /// `$setElementOrder` is no list, or not one of what the field holds.
    #[error("invalid patch format of setElementOrder list")]
    SetElementOrder,
    /// `$deleteFromPrimitiveList` is no list.
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    /// `$setElementOrder` has another order than the list of the patch.
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    Order {
        /// The list of the patch.
        patch: Value,
        /// The list of the directive.
        order: Value,
    },
    /// Elements of a merged list have different types.
    #[error("list element types are not identical: {0}")]
    MixedList(Value),
    /// A merged list holds lists.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// The body is not a JSON patch.
    #[error("reading a JSON patch: {0}")]
    JsonPatchSyntax(#[source] serde_json::Error),
    /// More operations than one JSON patch may have.
    #[error("The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {0}")]
    TooManyOperations(usize),
    /// An operation of a JSON patch does not apply.
    #[error("{0}")]
    JsonPatch(String),
}

/// Applies a strategic merge patch: maps are merged, lists as their field's patch strategy and merge key
/// say, nulls delete, and the directives `$patch`, `$retainKeys`, `$setElementOrder/FIELD` and
/// `$deleteFromPrimitiveList/FIELD` are obeyed. On an error the target may be half patched.
pub fn strategic_merge(root: TypeId, target: &mut Value, patch: &Value) -> Result<(), MergeError> {
    strategic::merge(root, target, patch)
}

#[cfg(test)]
mod tests;
