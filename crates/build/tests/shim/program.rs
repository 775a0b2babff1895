//! The shim's entry alone, so that the builder's tests need no other crate's binary.

fn main() {
    towpath_container::shim::main(std::env::args().skip(1))
}
