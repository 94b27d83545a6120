//! Services: from the API's Services and EndpointSlices to packet rules.

pub mod plan;
