//! Says in words which change of a batch was refused.

use super::batch::Batch;
use super::constants as c;
use crate::netlink::attributes;

impl Batch {
    /// The change with this sequence number, such as `add rule in chain services`.
    pub(super) fn describe(&self, sequence: u32) -> String {
        let Some((kind, body)) = self.messages.get(sequence) else {
            return format!("change {sequence}");
        };
        let found = attributes(body.get(4..).unwrap_or_default());
        let name = |attribute| found.text(attribute).unwrap_or("?").to_owned();
        match kind {
            c::BATCH_BEGIN | c::BATCH_END => "the whole batch".to_owned(),
            c::NEW_TABLE => "add table".to_owned(),
            c::DEL_TABLE => "delete table".to_owned(),
            c::NEW_CHAIN => format!("add chain {}", name(c::CHAIN_NAME)),
            c::DEL_CHAIN => format!("delete chain {}", name(c::CHAIN_NAME)),
            c::NEW_RULE => format!("add rule in chain {}", name(c::RULE_CHAIN)),
            c::DEL_RULE => format!("flush chain {}", name(c::RULE_CHAIN)),
            c::NEW_SET => format!("add set {}", name(c::SET_NAME)),
            c::DEL_SET => format!("delete set {}", name(c::SET_NAME)),
            c::NEW_ELEMENTS => format!("add elements to {}", name(c::ELEMENTS_SET)),
            c::DEL_ELEMENTS => format!("delete elements from {}", name(c::ELEMENTS_SET)),
            other => format!("change {sequence} of type {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SetKind, Verdict};
    use super::*;

    #[test]
    fn every_change_has_words() {
        let mut batch = Batch::new("t");
        batch.add_table();
        batch.add_chain("services");
        batch.add_rule("services", |rule| {
            rule.verdict(Verdict::Drop);
        });
        batch.add_set("hairpin", SetKind::AddressPairs);
        batch.flush_set("hairpin");
        batch.delete_chain("services");
        let words: Vec<_> = (1..=batch.messages.count()).map(|n| batch.describe(n)).collect();
        assert_eq!(
            words,
            [
                "the whole batch",
                "add table",
                "add chain services",
                "add rule in chain services",
                "add set hairpin",
                "delete elements from hairpin",
                "flush chain services",
                "delete chain services",
            ]
        );
        assert_eq!(batch.describe(99), "change 99");
    }
}
