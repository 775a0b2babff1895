//! Files to one compressed archive and back.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

// What one archive may unpack to.
const LIMIT_UNPACKED_BYTES: u64 = 32 << 30;

/// Packs files, each under the name next to it.
pub(super) async fn pack(files: Vec<(PathBuf, PathBuf)>, to: PathBuf) -> Result<u64, String> {
    let work = move || -> io::Result<u64> {
        let mut encoder = zstd::Encoder::new(File::create(&to)?, 1)?;
        encoder.include_checksum(true)?;
        let mut builder = tar::Builder::new(io::BufWriter::with_capacity(256 << 10, encoder));
        // Not every reader knows the sparse form.
        builder.sparse(false);
        builder.follow_symlinks(false);
        for (path, name) in files {
            builder
                .append_path_with_name(&path, &name)
                .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        }
        let encoder = builder
            .into_inner()?
            .into_inner()
            .map_err(|e| e.into_error())?;
        let file = encoder.finish()?;
        Ok(file.metadata()?.len())
    };
    blocking(work).await.map_err(|e| format!("pack: {e}"))
}

/// Unpacks; each entry goes where `place` says (base directory and path below it).
pub(super) async fn unpack(
    archive: PathBuf,
    place: impl Fn(&Path) -> Option<(PathBuf, PathBuf)> + Send + 'static,
) -> Result<u64, String> {
    let work = move || -> io::Result<u64> {
        let decoder = zstd::Decoder::new(File::open(&archive)?)?;
        let mut archive = tar::Archive::new(io::Read::take(decoder, LIMIT_UNPACKED_BYTES));
        let mut count = 0;
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = entry.path()?.into_owned();
            let Some((base, relative)) = place(&name) else {
                continue;
            };
            if !towpath_stdx::root::is_plain(&relative) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("entry {} leaves its directory", name.display()),
                ));
            }
            let target = base.join(&relative);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            // A link that an earlier entry made must not lead this one astray.
            let real = target.parent().map(Path::canonicalize).transpose()?;
            let inside = base.canonicalize()?;
            if !real.is_some_and(|r| r.starts_with(&inside)) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("entry {} leaves its directory", name.display()),
                ));
            }
            entry.set_preserve_mtime(true);
            entry.set_preserve_permissions(true);
            if target.is_symlink() {
                std::fs::remove_file(&target)?;
            }
            entry.unpack(&target)?;
            count += 1;
        }
        Ok(count)
    };
    blocking(work).await.map_err(|e| format!("unpack: {e}"))
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
