//! Objects as rows: the columns `kubectl get` prints for each kind, and how each cell is computed.
//!
//! A column is a row of a table here, too: its definition and the way to its cell stand together, so a
//! kind's header and its cells cannot disagree.

mod cluster;
mod core;
mod custom;
mod duration;
mod network;
mod pod;
mod row;
mod storage;
mod workloads;

use crate::kinds::Kind;
use jiff::Timestamp;
use row::Row;
use serde_json::{Value, json};

pub use custom::CustomColumns;
pub use duration::human;

/// One column of a kind's table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The heading.
    pub name: &'static str,
    /// The type of the cells: `string`, `integer`, `boolean`, `date`.
    pub kind: &'static str,
    /// `name` for the column that names the object.
    pub format: &'static str,
    /// What it shows.
    pub description: &'static str,
    /// 0 for always, 1 for `-o wide` only.
    pub priority: u8,
    cell: Cell,
}

/// Where a cell's value comes from; paths are field names with dots.
#[derive(Clone, Copy, Debug)]
enum Cell {
    /// The object's name.
    Name,
    /// How long the object exists.
    Age,
    /// When the object was created.
    Created,
    /// A text, or another one where it is absent or empty.
    Text(&'static str, &'static str),
    /// A whole number, 0 where absent.
    Number(&'static str),
    /// How many entries a list or map has.
    Size(&'static str),
    /// A truth value, or another one where absent.
    Flag(&'static str, bool),
    /// How long ago something was, or a text where absent.
    Since(&'static str, &'static str),
    /// Whatever needs more than one field.
    Of(fn(&Row<'_>) -> Value),
}

impl Column {
    const fn new(name: &'static str, kind: &'static str, description: &'static str, cell: Cell) -> Column {
        Column {
            name,
            kind,
            format: "",
            description,
            priority: 0,
            cell,
        }
    }

    const fn text(name: &'static str, description: &'static str, path: &'static str) -> Column {
        Column::new(name, "string", description, Cell::Text(path, ""))
    }

    const fn text_or(
        name: &'static str,
        description: &'static str,
        path: &'static str,
        absent: &'static str,
    ) -> Column {
        Column::new(name, "string", description, Cell::Text(path, absent))
    }

    const fn number(name: &'static str, description: &'static str, path: &'static str) -> Column {
        Column::new(name, "integer", description, Cell::Number(path))
    }

    const fn size(name: &'static str, description: &'static str, path: &'static str) -> Column {
        Column::new(name, "integer", description, Cell::Size(path))
    }

    const fn flag(name: &'static str, description: &'static str, path: &'static str, absent: bool) -> Column {
        Column::new(name, "boolean", description, Cell::Flag(path, absent))
    }

    const fn of(name: &'static str, description: &'static str, cell: fn(&Row<'_>) -> Value) -> Column {
        Column::new(name, "string", description, Cell::Of(cell))
    }

    /// The same column, shown with `-o wide` only.
    const fn wide(self) -> Column {
        Column { priority: 1, ..self }
    }

    /// The same column with cells of another type.
    const fn typed(self, kind: &'static str) -> Column {
        Column { kind, ..self }
    }

    /// The same column, naming the object.
    const fn naming(self) -> Column {
        Column {
            format: "name",
            ..self
        }
    }

    /// The `TableColumnDefinition` object.
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }

    fn cell(&self, row: &Row<'_>) -> Value {
        match self.cell {
            Cell::Name => row.text("metadata.name").into(),
            Cell::Age => row.since("metadata.creationTimestamp").into(),
            Cell::Created => row.text("metadata.creationTimestamp").into(),
            Cell::Text(path, absent) => row.text_or(path, absent).into(),
            Cell::Number(path) => row.number(path).into(),
            Cell::Size(path) => row.size(path).into(),
            Cell::Flag(path, absent) => row.get(path).and_then(Value::as_bool).unwrap_or(absent).into(),
            Cell::Since(path, absent) => {
                if row.text(path).is_empty() {
                    absent.into()
                } else {
                    row.since(path).into()
                }
            }
            Cell::Of(cell) => cell(row),
        }
    }
}

const NAME: Column = Column::new("Name", "string", "Name of the object.", Cell::Name).naming();
const AGE: Column = Column::new("Age", "string", "Time since the object was created.", Cell::Age);

/// What a kind without columns of its own shows.
const PLAIN: &[Column] = &[
    NAME,
    Column::new(
        "Created At",
        "date",
        "When the object was created.",
        Cell::Created,
    ),
];

/// The columns of `kind`.
pub fn columns(kind: &Kind) -> &'static [Column] {
    columns_of(&kind.group, &kind.kind)
}

/// The columns of a kind by its names, for bodies that are no resource of their own (`Scale`,
/// `Status`).
pub fn columns_of(group: &str, kind: &str) -> &'static [Column] {
    let own = match group {
        "" if kind == "Pod" => Some(pod::COLUMNS),
        "" => core::columns(kind),
        "apps" | "batch" | "autoscaling" | "policy" => workloads::columns(kind),
        "networking.k8s.io" | "discovery.k8s.io" => network::columns(kind),
        "events.k8s.io" if kind == "Event" => core::columns(kind),
        _ => cluster::columns(group, kind),
    };
    own.unwrap_or(PLAIN)
}

/// The `columnDefinitions` of `kind`.
pub fn definitions(kind: &Kind) -> Value {
    columns(kind).iter().map(Column::to_json).collect()
}

/// The cells of one object of `kind`, one for each column, as seen at `now`.
pub fn cells(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    cells_of(columns(kind), object, now)
}

/// The cells of one object under these columns, as seen at `now`.
pub fn cells_of(columns: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
    let row = Row::new(object, now);
    columns.iter().map(|column| column.cell(&row)).collect()
}

/// The row's `conditions`: that a pod has ended.
pub fn conditions(kind: &Kind, object: &Value) -> Option<Value> {
    if (&*kind.group, &*kind.kind) != ("", "Pod") {
        return None;
    }
    let (reason, message) = match object.get("status")?.get("phase")?.as_str()? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{ "type": "Completed", "status": "True", "reason": reason, "message": message }]))
}

#[cfg(test)]
mod tests;
