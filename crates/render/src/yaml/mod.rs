//! YAML as Kubernetes tools read and write it.
//!
//! Reading follows the scalar rules of the Go libraries behind the field's tools (`yes` is a
//! string, `0777` is octal, `1_000` is a number), keeps every node's position, expands anchors
//! under a budget and refuses duplicate keys. Writing produces, byte for byte, what
//! `sigs.k8s.io/yaml` writes: keys in its natural order, lists not indented, lines folded at 80.

mod emit;
mod float;
mod node;
mod parse;
mod scalar;
mod sort;

pub use emit::to_yaml;
pub use node::{Map, Node, Place, Scalar, Value};
pub use parse::{Limits, parse};
pub use scalar::{resolve, resolve_11};
pub use sort::natural;
