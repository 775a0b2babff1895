//! Hidden commands that run inside shims and job containers, never by hand.

use std::ffi::OsString;
use std::process::ExitCode;

/// `towpath shim …`: holds one container; see `towpath-container`.
pub fn shim(arguments: Vec<OsString>) -> ExitCode {
    towpath_container::shim::main(
        arguments
            .into_iter()
            .skip(2)
            .map(|a| a.to_string_lossy().into_owned()),
    )
}

/// `towpath runner FILE`: runs one job's steps; see `towpath-pipeline`.
pub fn runner(arguments: Vec<OsString>) -> ExitCode {
    let file = arguments
        .get(2)
        .map(std::path::PathBuf::from)
        .unwrap_or_default();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match u8::try_from(towpath_pipeline::runner::main(&file)) {
        Ok(code) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}
