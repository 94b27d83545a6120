//! Queue, cycle, one file per plugin.
