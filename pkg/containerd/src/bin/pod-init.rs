//! `pod-init` alone, for this crate's tests: in the product it is a mode of the one binary.

fn main() {
    kobune_containerd::pod_init()
}
