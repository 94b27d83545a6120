//! A runtime in memory, for simulation tests of the kubelet only.
