//! Files that commands write: refused before the work when they cannot be written after it.

use std::path::Path;
use std::time::SystemTime;

use anyhow::bail;
use dyag_text::Date;

/// Refuses an output file that cannot be written, before hours are spent on its content, and one whose writing would lose one of the files that are `read` or written besides. `what` is
/// what will be written.
pub(crate) fn check(path: &Path, what: &str, read: &[&Path]) -> anyhow::Result<()> {
    if let Some(same) = read.iter().find(|other| is_same(path, other)) {
        bail!("cannot write {what} to {}: {} is the same file and would be lost; expected another name", path.display(), same.display());
    }
    if path.is_dir() || path.file_name().is_none() {
        bail!("cannot write {what} to {}: it is a folder, expected the name of a file", path.display());
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if is_of_collection(folder) {
        bail!("cannot write {what} to {}: {} is a collection, which holds nothing else", path.display(), folder.display());
    }
    match std::fs::metadata(folder) {
        Ok(facts) if facts.is_dir() => Ok(()),
        Ok(_) => bail!("cannot write {what} to {}: {} is not a folder", path.display(), folder.display()),
        Err(error) => bail!("cannot write {what} to {}: its folder {}: {error}", path.display(), folder.display()),
    }
}

/// Whether a folder is a collection of passages, or a state of one.
fn is_of_collection(folder: &Path) -> bool {
    let is_state = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("generation-"));
    std::fs::read_to_string(folder.join("CURRENT")).is_ok_and(|named| named.starts_with("generation-"))
        || (is_state && folder.join("collection.json").is_file())
}

/// Whether two names are one file: spelt alike, or one by links.
fn is_same(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(a), Ok(b)) = (std::fs::metadata(a), std::fs::metadata(b)) {
        use std::os::unix::fs::MetadataExt as _;
        // Devices and pipes lose nothing.
        return a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino());
    }
    a == b || std::fs::canonicalize(a).is_ok_and(|a| std::fs::canonicalize(b).is_ok_and(|b| a == b))
}

/// A time as `2026-11-25T08:16:04Z`.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let day = Date::from_unix_seconds(seconds).map_or_else(|| "9999-12-31".to_owned(), |day| day.to_string());
    let of_day = seconds % 86_400;
    format!("{day}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_everybody_writes_them() {
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_000_964)), "2026-07-25T17:36:04Z");
    }

    #[test]
    fn what_is_read_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let [source, other, hard] = ["a.md", "b.md", "hard.md"].map(|name| folder.path().join(name));
        std::fs::write(&source, "text").expect("written");
        std::fs::hard_link(&source, &hard).expect("a link");
        let refused = |path: &Path, read: &Path| check(path, "it", &[read]).is_err_and(|error| error.to_string().contains("would be lost"));
        assert!(refused(&source, &source) && refused(&hard, &source) && refused(&folder.path().join("./a.md"), &source));
        assert!(refused(&other, &other), "two files of one name, neither of which is there yet");
        assert!(check(&other, "it", &[&source]).is_ok());
        std::fs::write(folder.path().join("CURRENT"), "generation-000001").expect("written");
        assert!(check(&other, "it", &[]).is_err_and(|error| error.to_string().contains("is a collection")));
        let state = folder.path().join("generation-000001");
        std::fs::create_dir(&state).expect("a folder");
        assert!(check(&state.join("a"), "it", &[]).is_ok());
        std::fs::write(state.join("collection.json"), "{}").expect("written");
        assert!(check(&state.join("a"), "it", &[]).is_err());
        // Files of these names elsewhere are anybody's.
        std::fs::write(folder.path().join("CURRENT"), "mine").expect("written");
        std::fs::write(folder.path().join("collection.json"), "{}").expect("written");
        assert!(check(&other, "it", &[]).is_ok());
    }

    #[test]
    fn folders_and_missing_folders_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(check(&folder.path().join("a.json"), "it", &[]).is_ok());
        assert!(check(folder.path(), "it", &[]).is_err_and(|error| error.to_string().contains("it is a folder")));
        assert!(check(&folder.path().join("no/a.json"), "it", &[]).is_err_and(|error| error.to_string().contains("No such file")));
    }
}
