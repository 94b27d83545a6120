//! Fields of a node that do nothing any more.

use super::Warnings;
use crate::validate::at::At;

pub(super) fn node(root: &At<'_, '_>, warnings: &mut Warnings) {
    let spec = root.child("spec");
    if spec.child("configSource").is_set() {
        warnings.push("spec.configSource: the feature is removed".to_owned());
    }
    if !spec.child("externalID").text().is_empty() {
        warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
    }
}
