//! Entry point. Shims and runners must start before any thread exists, so they are told apart
//! here by the first argument; everything else is `towpath::cli`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    match arguments.get(1).and_then(|a| a.to_str()) {
        Some("shim") => towpath::inner::shim(arguments),
        Some("runner") => towpath::inner::runner(arguments),
        _ => towpath::cli::main(arguments),
    }
}
