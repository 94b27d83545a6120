//! What the suites share: servers, kubectl, images, hosts.
