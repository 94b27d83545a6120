//! Real containers through real kubectl: see `tests/e2e`.
