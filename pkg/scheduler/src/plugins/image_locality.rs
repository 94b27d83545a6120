//! ImageLocality: prefers nodes that have the pod's images already.

use kobune_client::k8s_openapi::api::core::v1::Pod;

use super::{Candidate, ClusterEvent, MAX_SCORE, Plugin};
use crate::nodes::NodeInfo;

const MEGABYTE: i64 = 1024 * 1024;
/// Images below this do not count; above [`MAXIMUM`] each they count in full.
const MINIMUM: i64 = 23 * MEGABYTE;
const MAXIMUM: i64 = 1000 * MEGABYTE;

/// The plugin.
pub struct ImageLocality;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, candidate: &Candidate<'_>, node: &NodeInfo) -> i64 {
        let Some(spec) = candidate.pod.spec.as_ref().filter(|_| candidate.cluster_size > 1) else {
            return 0;
        };
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let (mut present, mut count) = (0, 0);
        for image in containers.filter_map(|container| container.image.as_deref()) {
            count += 1;
            present += node.images.get(&*with_tag(image)).copied().unwrap_or_default();
        }
        let most = (MAXIMUM * count).max(MINIMUM + 1);
        MAX_SCORE * (present.clamp(MINIMUM, most) - MINIMUM) / (most - MINIMUM)
    }

    fn may_help(&self, _pod: &Pod, _event: &ClusterEvent) -> bool {
        false
    }
}

/// The name as nodes report it: with `:latest` when neither tag nor digest is given.
fn with_tag(image: &str) -> std::borrow::Cow<'_, str> {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') {
        image.into()
    } else {
        format!("{image}:latest").into()
    }
}
