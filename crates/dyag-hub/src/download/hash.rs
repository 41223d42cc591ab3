//! Whether a file is what its hash says.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::files::BlobId;

/// The hash of a file's content, of the kind that `like` is; its length in bytes beside it.
pub(crate) fn of_file(path: &Path, like: &BlobId) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let hash = match like {
        BlobId::Sha256(_) => hex(&digest(Sha256::new(), &mut file)?),
        BlobId::GitSha1(_) => {
            let mut hasher = Sha1::new();
            hasher.update(format!("blob {size}\0"));
            hex(&digest(hasher, &mut file)?)
        }
    };
    Ok((hash, size))
}

fn digest<D: sha2::Digest>(mut hasher: D, file: &mut File) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hasher.finalize().to_vec());
        }
        hasher.update(&buffer[..n]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_of_git_and_of_large_files() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "hello\n").expect("written");
        // `printf 'hello\n' | git hash-object --stdin`, `| sha256sum`
        let git = BlobId::git_sha1("ce013625030ba8dba906f756967f9e9ca394464a").expect("a hash");
        assert_eq!(of_file(file.path(), &git).expect("read"), (git.hash().to_owned(), 6));
        let large = BlobId::sha256("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03").expect("a hash");
        assert_eq!(of_file(file.path(), &large).expect("read"), (large.hash().to_owned(), 6));
    }
}
