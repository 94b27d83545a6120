//! Real containers through real kubectl.
