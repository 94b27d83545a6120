//! Streams to containers: exec, attach and port-forward, over WebSocket and SPDY/3.1.
//!
//! ```text
//! WebSocket v5/v4.channel.k8s.io ─┐                      ┌─ runtime::Session (exec, attach)
//!                                 ├─ Channels ─ remote ──┘
//! SPDY/3.1 streams ───────────────┘
//! WebSocket SPDY/3.1+portforward.k8s.io ─ byte stream ─ SPDY/3.1 ─┐
//! SPDY/3.1 ───────────────────────────────────────────────────────┼─ port_forward ─ TCP in the pod
//! WebSocket v4.channel.k8s.io ────────────────────────────────────┘
//! ```

mod channels;
mod port_forward;
mod remote;
pub mod spdy;
mod tunnel;
mod upgrade;
mod websocket;

pub use port_forward::{Dial, port_forward};
pub use remote::{RemoteOptions, remote};
pub use upgrade::Refused;
