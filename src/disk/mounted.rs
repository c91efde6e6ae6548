//! Files that somebody else puts in place and may put in place anew while a node runs: certificates, keys.
//!
//! The real file system, always, and through links: a Secret that Kubernetes mounts consists of them, and another one
//! is put in its place by changing where they lead.

use crate::base::Secret;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Of a secret: owner may write and read, group may read, nobody else anything.
pub(super) const MODE_MAX: u32 = 0o640;
/// Far more than a chain of certificates has, and less than what authorities of a whole system take.
const BYTES_MAX: u64 = 4 << 20;

/// How a file looks from outside, to tell whether it has to be read again: device, inode, length, and both times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp([i64; 7]);

/// Looks at a file. Links are followed, so another target is seen, as is another mode. None where it cannot be looked at.
pub fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    let number = |n: u64| n.cast_signed();
    let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
    Some(Stamp([number(meta.dev()), number(meta.ino()), number(meta.len()), times[0], times[1], times[2], times[3]]))
}

/// Why a file was not read.
#[derive(Debug)]
pub enum Unread {
    /// The system refused it.
    Io(io::Error),
    /// It is a secret that others can read or change: its permission bits.
    Mode(u32),
    /// It is a directory, a pipe or a device.
    NoFile,
    /// It is longer than anything of its kind.
    Long,
}

/// Reads a file whole. One with a secret in it is for its owner and its group alone.
pub fn read(path: &Path, secret: bool) -> Result<Secret<Vec<u8>>, Unread> {
    // Asked before opening: opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(Unread::Io)?.is_file() {
        return Err(Unread::NoFile);
    }
    let file = File::open(path).map_err(Unread::Io)?;
    let meta = file.metadata().map_err(Unread::Io)?;
    let mode = meta.mode() & 0o7777;
    if secret && mode & 0o777 & !MODE_MAX != 0 {
        return Err(Unread::Mode(mode));
    }
    if meta.len() > BYTES_MAX {
        return Err(Unread::Long);
    }
    // Room for all of it: memory that it outgrew would be left behind as it is.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1);
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(Unread::Io)?;
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_secret_that_others_can_read_is_refused_through_links_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, link) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&file, "text").expect("written");
        symlink(&file, &link).expect("linked");
        for (mode, is_for_us) in [(0o600, true), (0o640, true), (0o400, true), (0o644, false), (0o660, false)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
            let read = |secret| read(&link, secret).map(|text| text.expose().clone());
            assert!(matches!(read(false), Ok(text) if text == b"text"));
            match read(true) {
                Ok(text) => assert!(is_for_us && text == b"text", "{mode:o}"),
                Err(Unread::Mode(found)) => assert!(!is_for_us && found == mode, "{mode:o}"),
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(matches!(read(dir.path(), false), Err(Unread::NoFile)));
        assert!(matches!(read(&dir.path().join("none"), false), Err(Unread::Io(_))));
    }

    #[test]
    fn another_target_of_a_link_is_another_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        for name in ["a", "b"] {
            fs::write(at(name), "text").expect("written");
        }
        symlink("a", at("now")).expect("linked");
        let before = stamp(&at("now"));
        assert_eq!(before, stamp(&at("a")));
        symlink("b", at("next")).expect("linked");
        fs::rename(at("next"), at("now")).expect("moved");
        assert!(before.is_some() && stamp(&at("now")) == stamp(&at("b")) && stamp(&at("now")) != before);
        fs::remove_file(at("b")).expect("removed");
        assert_eq!(stamp(&at("now")), None);
    }
}
