//! Compiles again when the web UI's bundle changed; the bundle may be absent.

fn main() {
    println!("cargo::rerun-if-changed=../../web/dist");
}
