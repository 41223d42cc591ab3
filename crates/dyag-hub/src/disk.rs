//! How much room there is.

use std::path::Path;

/// Bytes that may still be written below a folder, which need not be there yet; none where the system does not say.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.exists())?;
    free_bytes_of(existing)
}

#[cfg(unix)]
fn free_bytes_of(folder: &Path) -> Option<u64> {
    let facts = rustix::fs::statvfs(folder).ok()?;
    facts.f_bavail.checked_mul(facts.f_frsize)
}

#[cfg(not(unix))]
fn free_bytes_of(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_temporary_folder_has_room() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(free_bytes(&folder.path().join("a/b/c")).is_some_and(|bytes| bytes > 0));
    }
}
