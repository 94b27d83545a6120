//! Schemas that come and go at run time: one for each served custom resource version.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use super::{Schema, Type, TypeId};

static SCHEMAS: LazyLock<RwLock<HashMap<u16, Arc<Schema>>>> = LazyLock::new(Default::default);

/// A registered schema. Its ids stop resolving when this is dropped; walks under way keep their copy.
#[derive(Debug)]
pub struct Registered {
    number: u16,
}

impl Registered {
    /// The id of the schema's type at this place.
    pub fn type_id(&self, index: u16) -> TypeId {
        TypeId::new(self.number, index)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        SCHEMAS
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.number);
    }
}

/// Makes a custom resource's types known. `build` gets a function that gives the id of the type at a place
/// of the list it returns. `None` when 65,535 schemas are registered.
pub fn register(build: impl FnOnce(&dyn Fn(u16) -> TypeId) -> Vec<Type>) -> Option<Registered> {
    let mut schemas = SCHEMAS.write().unwrap_or_else(PoisonError::into_inner);
    let number = (1..=u16::MAX).find(|number| !schemas.contains_key(number))?;
    let mut types = build(&|index| TypeId::new(number, index));
    types.iter_mut().for_each(Type::index);
    schemas.insert(number, Arc::new(Schema { types }));
    Some(Registered { number })
}

pub(super) fn schema(number: u16) -> Option<Arc<Schema>> {
    SCHEMAS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&number)
        .cloned()
}
