//! Writing files so that a kill at any moment leaves the old content or the new, never a part.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file could not be written; nothing was left under its name.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; {}", path.display(), consequence(*replaced))]
pub struct WriteError {
    /// The final name.
    pub path: PathBuf,
    /// Whether an older file of that name existed, which is kept.
    pub replaced: bool,
    /// What the system said.
    pub source: io::Error,
}

fn consequence(replaced: bool) -> &'static str {
    if replaced { "the file that was there is unchanged" } else { "nothing was left under that name" }
}

/// Suffix of the temporary name.
const PARTIAL: &str = ".partial";

/// Writes `path` through a temporary file beside it, which is synced and then renamed.
///
/// The temporary name is `path` with `.partial` appended; one that an earlier kill left there is replaced. When `write` or the disk
/// fails the temporary file is removed and what `path` held before stays. A file that is replaced gives its permissions to the new one; of a link, what it
/// points to is replaced. What is no file, such as `/dev/stdout` or a pipe, is written to as it is.
///
/// # Errors
/// Whatever `write` returns, and whatever the system says to creating, syncing or renaming.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), WriteError> {
    let before = fs::metadata(path).ok();
    let failed = |source| WriteError { path: path.to_owned(), replaced: before.is_some(), source };
    if before.as_ref().is_some_and(|before| !before.is_file() && !before.is_dir()) {
        return write_through(path, write).map_err(failed);
    }
    let target = fs::canonicalize(path);
    let path = target.as_deref().unwrap_or(path);
    let partial = partial_name(path).ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file")))?;
    let permissions = before.as_ref().map(fs::Metadata::permissions);
    let outcome = write_synced(&partial, permissions, write).and_then(|()| fs::rename(&partial, path));
    if let Err(source) = outcome {
        // The error that matters is the first one; a temporary file that cannot be removed either is replaced by the next attempt.
        let _ = fs::remove_file(&partial);
        return Err(failed(source));
    }
    sync_folder_of(path).map_err(failed)
}

/// Writes `bytes` to `path` as [`write_atomically`] does.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_bytes_atomically(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    write_atomically(path, |out| out.write_all(bytes))
}

fn partial_name(path: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(path.file_name()?);
    name.push(PARTIAL);
    Some(path.with_file_name(name))
}

/// Writes to a device or a pipe.
fn write_through(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, OpenOptions::new().write(true).open(path)?);
    write(&mut out)?;
    out.flush()
}

fn write_synced(
    partial: &Path,
    permissions: Option<fs::Permissions>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    match fs::remove_file(partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).open(partial)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    let mut out = BufWriter::with_capacity(1 << 16, file);
    write(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Makes a rename last: on Unix the folder itself has to be synced.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).expect("folder").map(|e| e.expect("entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_old_content_and_a_leftover_of_a_kill() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.json");
        fs::write(&path, "old").expect("write");
        fs::write(folder.path().join("a.json.partial"), "half of someth").expect("write");
        write_bytes_atomically(&path, b"new").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.json");
        let fail = |out: &mut dyn Write| {
            out.write_all(&[7; 100_000])?;
            Err(io::Error::new(io::ErrorKind::StorageFull, "no space"))
        };
        let error = write_atomically(&path, fail).expect_err("fails");
        assert!(error.to_string().contains("nothing was left"), "{error}");
        assert!(names(folder.path()).is_empty());
        fs::write(&path, "old").expect("write");
        let error = write_atomically(&path, fail).expect_err("fails");
        assert!(error.to_string().contains("unchanged"), "{error}");
        assert_eq!(fs::read(&path).expect("read"), b"old");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn an_absent_folder_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().expect("folder");
        let error = write_bytes_atomically(&folder.path().join("absent/a"), b"x").expect_err("no folder");
        assert!(error.to_string().contains("absent/a"), "{error}");
        assert!(names(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn permissions_links_and_devices_stay_what_they_are() {
        use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
        let folder = tempfile::tempdir().expect("folder");
        let (file, link) = (folder.path().join("private"), folder.path().join("link"));
        fs::write(&file, "old").expect("write");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("permissions");
        std::os::unix::fs::symlink("private", &link).expect("a link");
        write_bytes_atomically(&link, b"new").expect("written");
        assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
        assert_eq!(fs::read(&file).expect("read"), b"new");
        assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
        let device = folder.path().join("device");
        std::os::unix::fs::symlink("/dev/null", &device).expect("a link");
        write_bytes_atomically(&device, b"nothing").expect("written");
        assert!(fs::metadata(&device).expect("the device").file_type().is_char_device());
        if Path::new("/dev/full").exists() {
            assert!(write_bytes_atomically(Path::new("/dev/full"), b"too much").is_err());
        }
        assert_eq!(names(folder.path()), ["device", "link", "private"]);
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        assert!(write_bytes_atomically(Path::new("/"), b"x").is_err());
        assert!(write_bytes_atomically(Path::new(".."), b"x").is_err());
    }
}
