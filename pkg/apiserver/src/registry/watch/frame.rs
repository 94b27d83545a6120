//! How an event is written.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kobune_api::meta;
use kobune_api::status::Status;
use kobune_store::{Record, Revision};
use serde_json::{Value, json};

use super::shared::{Form, Forms};
use crate::http::negotiate::{Answer, Encoding, Shape};
use crate::registry::partial::{self, partial};
use crate::registry::row::Row;
use crate::registry::table::{self, Include};

/// What an event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// New to the watcher.
    Added,
    /// Changed.
    Modified,
    /// Gone, or out of the selection.
    Deleted,
    /// How far the watch has come.
    Bookmark,
    /// The end of the watch.
    Error,
}

impl Type {
    /// The word in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
            Self::Error => "ERROR",
        }
    }
}

/// The way one watcher's events are written.
pub struct Frames {
    row: Arc<Row>,
    answer: Answer,
    include: Include,
    /// Whether the columns of a table were told already.
    columns_sent: bool,
    /// Shared with all who have their events written in the same way, unless that is plain JSON.
    form: Option<Arc<Form>>,
}

impl Frames {
    /// The frames of a new watch. `include` matters to tables.
    pub fn new(row: &Arc<Row>, answer: Answer, include: Include, forms: &Forms) -> Self {
        let plain = answer == Answer::JSON && row.convert.is_none();
        Self {
            row: row.clone(),
            answer,
            include,
            columns_sent: false,
            form: (!plain).then(|| forms.of(row, answer, include)),
        }
    }

    /// Writes an event with a stored object.
    pub fn object(&mut self, out: &mut BytesMut, event: Type, record: &Arc<Record>) {
        let stored = &record.value;
        let Some(form) = self.form.take() else {
            out.reserve(stored.len() + 40);
            head(out, event);
            out.put_slice(stored);
            out.put_slice(b"}\n");
            return;
        };
        if self.answer.shape == Shape::Table && !self.columns_sent {
            // A watch's first table has the columns, and is its own.
            self.converted(out, event, stored);
        } else {
            form.put(out, event, record, |out| self.converted(out, event, stored));
        }
        self.form = Some(form);
    }

    /// Writes an event with a stored object in another form than the stored one.
    fn converted(&mut self, out: &mut BytesMut, event: Type, stored: &Bytes) {
        let json = self.answer.encoding == Encoding::Json && self.row.convert.is_none();
        if json
            && self.answer.shape == Shape::Partial
            && let Some(metadata) = partial::metadata(stored)
        {
            head(out, event);
            out.put_slice(partial::HEAD);
            out.put_slice(&metadata);
            out.put_slice(partial::TAIL);
            out.put_slice(b"}\n");
            return;
        }
        if let Some(object) = self.read(stored) {
            self.tree(out, event, object);
        }
    }

    /// Writes that an object left the selection: as it was when it was last in it, at the revision
    /// of the change.
    pub fn left(&mut self, out: &mut BytesMut, stored: &[u8], revision: Revision) {
        if let Some(mut object) = self.read(stored) {
            meta::set(&mut object, "resourceVersion", revision.to_string());
            self.tree(out, Type::Deleted, object);
        }
    }

    /// Writes how far the watch has come; `initial` marks the end of the initial events.
    pub fn bookmark(&mut self, out: &mut BytesMut, revision: Revision, initial: bool) {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"kind": &*self.row.kind.kind, "apiVersion": self.row.kind.api_version(),
            "metadata": metadata});
        if self.answer.shape == Shape::Table {
            let table = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": revision.to_string()}, "columnDefinitions": null, "rows": []});
            self.write(out, Type::Bookmark, &table, false);
        } else {
            self.tree(out, Type::Bookmark, object);
        }
    }

    /// Writes the failure that ends the watch.
    pub fn error(&mut self, out: &mut BytesMut, status: &Status) {
        self.write(out, Type::Error, &status.to_json(), false);
    }

    fn read(&self, stored: &[u8]) -> Option<Value> {
        let mut object: Value = serde_json::from_slice(stored).ok()?;
        if let Some(convert) = self.row.convert {
            convert.serve(&mut object);
        }
        Some(object)
    }

    fn tree(&mut self, out: &mut BytesMut, event: Type, object: Value) {
        match self.answer.shape {
            Shape::Object => self.write(out, event, &object, true),
            Shape::Partial => self.write(out, event, &partial(object), false),
            Shape::Table => {
                let head = json!({"resourceVersion": meta::resource_version(&object)});
                let columns = !std::mem::replace(&mut self.columns_sent, true);
                let now = jiff::Timestamp::now();
                let table = table::table(&self.row, self.include, head, vec![object], columns, now);
                self.write(out, event, &table, false);
            }
        }
    }

    fn write(&self, out: &mut BytesMut, event: Type, object: &Value, own_kind: bool) {
        if self.answer.encoding == Encoding::Protobuf {
            let schema = if own_kind { self.row.kind.schema } else { None };
            crate::encoding::protobuf_event(out, event.as_str(), object, schema);
            return;
        }
        head(out, event);
        // Writing a tree to memory cannot fail.
        let _ = serde_json::to_writer((&mut *out).writer(), object);
        out.put_slice(b"}\n");
    }
}

fn head(out: &mut BytesMut, event: Type) {
    out.put_slice(b"{\"type\":\"");
    out.put_slice(event.as_str().as_bytes());
    out.put_slice(b"\",\"object\":");
}
