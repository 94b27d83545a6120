//! Writes JSON front to back, without a tree.

use bytes::Bytes;
use serde_json::Value;

/// JSON being written. Keys and values put their own commas.
pub(super) struct Json {
    out: Vec<u8>,
    comma: bool,
}

impl Json {
    pub(super) fn new() -> Json {
        Json {
            out: Vec::with_capacity(64 * 1024),
            comma: false,
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.out.into()
    }

    fn start(&mut self) {
        if std::mem::replace(&mut self.comma, true) {
            self.out.push(b',');
        }
    }

    pub(super) fn object(&mut self, write: impl FnOnce(&mut Json)) {
        self.nested(b'{', b'}', write);
    }

    pub(super) fn array(&mut self, write: impl FnOnce(&mut Json)) {
        self.nested(b'[', b']', write);
    }

    fn nested(&mut self, open: u8, close: u8, write: impl FnOnce(&mut Json)) {
        self.start();
        self.out.push(open);
        self.comma = false;
        write(self);
        self.out.push(close);
        self.comma = true;
    }

    /// A key; its value must follow.
    pub(super) fn key(&mut self, name: &str) -> &mut Json {
        self.text(name);
        self.out.push(b':');
        self.comma = false;
        self
    }

    pub(super) fn text(&mut self, text: &str) {
        self.start();
        // Writing a string to memory cannot fail.
        let _ = serde_json::to_writer(&mut self.out, text);
    }

    pub(super) fn bool(&mut self, on: bool) {
        self.start();
        self.out.extend_from_slice(if on { b"true" } else { b"false" });
    }

    pub(super) fn value(&mut self, value: &Value) {
        self.start();
        // Writing a value with text keys to memory cannot fail.
        let _ = serde_json::to_writer(&mut self.out, value);
    }

    /// JSON that is text already.
    pub(super) fn raw(&mut self, json: &str) {
        self.start();
        self.out.extend_from_slice(json.as_bytes());
    }

    pub(super) fn texts<T: AsRef<str>>(&mut self, list: impl IntoIterator<Item = T>) {
        self.array(|out| list.into_iter().for_each(|text| out.text(text.as_ref())));
    }
}
