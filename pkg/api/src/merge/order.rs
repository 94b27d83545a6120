//! The order of a merged list: elements the patch knows go in its order, those only the server knows keep
//! their places among them as well as they can.

use serde_json::Value;

/// What tells elements apart: the merge key, or the element itself.
pub(super) fn identity<'v>(element: &'v Value, key: Option<&str>) -> &'v Value {
    match key {
        Some(key) => &element[key],
        None => element,
    }
}

fn position(list: &[Value], element: &Value, key: Option<&str>) -> Option<usize> {
    let wanted = identity(element, key);
    list.iter().position(|known| identity(known, key) == wanted)
}

/// Puts `merged` in order: `patch_order` for the elements in it, `server_order` for the others.
pub(super) fn arrange(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let (mut patched, mut others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|element| position(patch_order, element, key).is_some());
    sort(&mut patched, patch_order, key);
    sort(&mut others, server_order, key);
    interleave(others, patched, server_order, key)
}

fn sort(elements: &mut [Value], order: &[Value], key: Option<&str>) {
    elements.sort_by_cached_key(|element| position(order, element, key).unwrap_or(usize::MAX));
}

/// Inserts each of `others` before the first of `patched` that the server had after it.
fn interleave(
    others: Vec<Value>,
    patched: Vec<Value>,
    server_order: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let mut all = Vec::with_capacity(others.len() + patched.len());
    let mut others = others.into_iter().peekable();
    for element in patched {
        let place = position(server_order, &element, key);
        while let Some(other) = others.peek() {
            match (position(server_order, other, key), place) {
                (Some(before), Some(after)) if before < after => all.extend(others.next()),
                _ => break,
            }
        }
        all.push(element);
    }
    all.extend(others);
    all
}
