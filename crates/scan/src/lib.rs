//! Bytes to findings: coverage reports, secrets in text, packages out of lock files and images,
//! known vulnerabilities of packages, and the verdicts of gates over all of these.
//!
//! Pure given its database: no clock, no network, no environment. Every parser takes bytes from
//! outside, so each has bounds and returns a problem in words instead of panicking.

pub mod coverage;
pub mod gates;
pub mod lockfiles;
pub mod osv;
pub mod package;
pub mod sbom;
pub mod secrets;
pub mod version;

pub use package::Package;
