use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

const WRAPPED: WrappedAs = WrappedAs { magic: *b"WRAP", len: 40 };

/// Opened by nobody.
fn load(dir: &Path) -> Result<Keys, KeyDirError> {
    super::load(dir, WRAPPED, &|_| Err("something that is wrapped".to_owned()))
}

fn key(byte: u8) -> Secret<[u8; KEY_BYTES]> {
    Secret::new([byte; KEY_BYTES])
}

fn put(dir: &Path, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
    let file = dir.join(name);
    fs::write(&file, bytes).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    file
}

/// The error as the operator sees it: one line that names the file.
fn line(error: &KeyDirError, names: &Path) -> String {
    let line = error.to_string();
    assert!(!line.contains('\n') && line.contains(&names.display().to_string()), "{line}");
    line
}

#[test]
fn a_created_key_loads_and_others_cannot_read_it() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("deep/keys");
    assert_eq!(next_generation(&dir).unwrap(), 1);
    let file = create(&dir, 1, key(7).expose()).unwrap();
    assert_eq!(file, dir.join("kek-0001"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o400);
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing staged stays");
    create(&dir, next_generation(&dir).unwrap(), key(8).expose()).unwrap();
    create(&dir, 12345, key(9).expose()).unwrap();
    let loaded: Vec<_> = load(&dir).unwrap().iter().map(|(g, k)| (*g, k.expose()[0])).collect();
    assert_eq!(loaded, [(1, 7), (2, 8), (12345, 9)]);
    assert_eq!(next_generation(&dir).unwrap(), 12346);
}

#[test]
fn a_key_is_never_replaced() {
    let tmp = tempfile::tempdir().unwrap();
    let file = create(tmp.path(), 1, key(7).expose()).unwrap();
    let error = create(tmp.path(), 1, key(8).expose()).unwrap_err();
    assert!(matches!(error, KeyDirError::Exists { .. }));
    line(&error, &file);
    assert_eq!(load(tmp.path()).unwrap()[0].1.expose(), &[7; 32]);
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
    assert!(matches!(create(tmp.path(), 0, key(8).expose()), Err(KeyDirError::Generation { .. })));
}

#[test]
fn a_missing_or_empty_directory_holds_no_key() {
    let tmp = tempfile::tempdir().unwrap();
    for dir in [tmp.path().to_owned(), tmp.path().join("missing")] {
        let error = load(&dir).unwrap_err();
        assert!(matches!(error, KeyDirError::NoKeys { .. }));
        assert!(line(&error, &dir).contains("boveda key new"));
    }
}

#[test]
fn open_modes_are_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let file = put(tmp.path(), "kek-0001", &[7; 32], 0o600);
    for mode in 0..=0o777 {
        // The owner keeps its right to read, or the open fails before (unless the superuser asks).
        let mode = mode | 0o400;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let fits = [0o400, 0o440, 0o600, 0o640].contains(&mode);
        match load(tmp.path()) {
            Ok(_) => assert!(fits, "{mode:o}"),
            Err(error) => {
                assert!(!fits && matches!(error, KeyDirError::Mode { .. }), "{mode:o}");
                assert!(line(&error, &file).contains(&format!("chmod 0400 {}", file.display())));
            }
        }
    }
}

#[test]
fn anything_but_32_raw_bytes_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let text = [b'a'; 64];
    for bad in [&[][..], &[7; 31], &[7; 33], &[0; 32], &text] {
        let file = put(tmp.path(), "kek-0001", bad, 0o600);
        let error = load(tmp.path()).unwrap_err();
        assert!(matches!(error, KeyDirError::Content { .. }), "{} bytes", bad.len());
        assert!(!line(&error, &file).contains("aaaa"));
    }
    let dir = tmp.path().join("kek-0002");
    put(tmp.path(), "kek-0001", &[7; 32], 0o600);
    fs::create_dir(&dir).unwrap();
    assert!(matches!(load(tmp.path()), Err(KeyDirError::Content { file, .. }) if file == dir));
}

#[test]
fn names_that_are_no_keys_are_refused_unless_hidden() {
    let tmp = tempfile::tempdir().unwrap();
    put(tmp.path(), "kek-0001", &[7; 32], 0o600);
    put(tmp.path(), ".kek-0002.staged", b"", 0o644);
    fs::create_dir(tmp.path().join("..data")).unwrap();
    assert_eq!(load(tmp.path()).unwrap().len(), 1);
    let names =
        ["kek-1", "kek-00001", "kek-0000", "kek-0001.bak", "kek-+001", "kek-", "KEK-0001", "id", "kek-9999999999"];
    for name in names {
        let file = put(tmp.path(), name, &[7; 32], 0o600);
        for error in [load(tmp.path()).map(|_| ()).unwrap_err(), next_generation(tmp.path()).unwrap_err()] {
            assert!(matches!(error, KeyDirError::Name { .. }), "{name}");
            line(&error, &file);
        }
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_look_shows_what_would_be_read_otherwise() {
    let tmp = tempfile::tempdir().unwrap();
    assert_eq!(look(&tmp.path().join("nowhere")), Look::default());
    put(tmp.path(), "kek-0001", &[7; 32], 0o600);
    let mut before = look(tmp.path());
    let mut changed = |what: &str, expected: bool| {
        let now = look(tmp.path());
        assert_eq!(now != before, expected, "{what}");
        before = now;
    };
    changed("nothing", false);
    put(tmp.path(), ".kek-0002.staged", b"", 0o644);
    changed("a hidden file", false);
    put(tmp.path(), "kek-0002", &[8; 32], 0o600);
    changed("a new file", true);
    fs::set_permissions(tmp.path().join("kek-0002"), fs::Permissions::from_mode(0o400)).unwrap();
    changed("another mode", true);
    fs::remove_file(tmp.path().join("kek-0001")).unwrap();
    symlink(".elsewhere", tmp.path().join("kek-0001")).unwrap();
    changed("a link to nowhere", true);
    put(tmp.path(), ".elsewhere", &[7; 32], 0o600);
    changed("its target", true);
}

/// How Kubernetes mounts a secret: two links, and the target's mode counts.
#[test]
fn links_are_followed() {
    let tmp = tempfile::tempdir().unwrap();
    let data = tmp.path().join("..2026_01_01");
    fs::create_dir(&data).unwrap();
    let target = put(&data, "kek-0001", &[7; 32], 0o440);
    symlink("..2026_01_01", tmp.path().join("..data")).unwrap();
    symlink("..data/kek-0001", tmp.path().join("kek-0001")).unwrap();
    assert_eq!(load(tmp.path()).unwrap()[0].1.expose(), &[7; 32]);
    fs::set_permissions(&target, fs::Permissions::from_mode(0o444)).unwrap();
    assert!(matches!(load(tmp.path()), Err(KeyDirError::Mode { .. })));
    fs::remove_file(target).unwrap();
    let error = load(tmp.path()).unwrap_err();
    assert!(matches!(error, KeyDirError::Io { .. }));
    line(&error, &tmp.path().join("kek-0001"));
}

#[test]
fn a_wrapped_key_is_told_by_its_first_bytes_and_its_length_and_is_opened_by_the_caller() {
    let tmp = tempfile::tempdir().unwrap();
    let wrapped = [&b"WRAP"[..], &[7; 36]].concat();
    let file = put(tmp.path(), "kek-0001", &wrapped, 0o600);
    put(tmp.path(), "kek-0002", &[8; 32], 0o600);
    assert_eq!(super::wrapped(tmp.path(), WRAPPED).unwrap(), BTreeSet::from([1]));
    let open = |bytes: &[u8]| if bytes == wrapped { Ok(key(9)) } else { Err("something else".to_owned()) };
    let loaded = super::load(tmp.path(), WRAPPED, &open).unwrap();
    assert_eq!(loaded.iter().map(|(g, k)| (*g, k.expose()[0])).collect::<Vec<_>>(), [(1, 9), (2, 8)]);
    let error = load(tmp.path()).unwrap_err();
    assert!(matches!(error, KeyDirError::Wrapped { .. }) && line(&error, &file).contains("something that is wrapped"));
    // As little may others read it.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(super::load(tmp.path(), WRAPPED, &open), Err(KeyDirError::Mode { .. })));
    for bad in [&b"WRAQ"[..], b"WRAP"] {
        fs::remove_file(&file).unwrap();
        let len = if bad == b"WRAP" { 35 } else { 36 };
        put(tmp.path(), "kek-0001", &[bad, &vec![7; len]].concat(), 0o600);
        assert!(matches!(super::load(tmp.path(), WRAPPED, &open), Err(KeyDirError::Content { .. })));
    }
}
