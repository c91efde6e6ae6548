//! Starts that must fail: each with one line that names cause and remedy, and without touching what is not ours.

mod common;

use common::{ANY_PORT, ANY_PORTS, Conn, Node, eventually, listening};
use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Somebody who owns nothing here.
const NOBODY: u32 = 65534;

/// A process that is not left behind when a test fails.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory, and the program in it, so that any user may run it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("it is ours");
        Place(dir)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a data directory `data` with its ring `keys`.
    fn with_a_used_node() -> Self {
        let place = Place::new();
        let mut node = Node::start();
        assert_eq!(node.upload("a.txt", b"a").status, 200);
        assert!(node.stop().success());
        fs::rename(node.data(), place.at("data")).expect("one file system");
        fs::rename(node.home().join("keys"), place.at("keys")).expect("one file system");
        place
    }

    fn command(&self, binary: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command.args(args).env_clear().env("BOVEDA_NODE_LOG", "error").current_dir(self.0.path());
        command
    }

    /// Runs a command that must end by itself, and gives its exit code and its one line.
    fn refused(&self, mut command: Command) -> (i32, String) {
        let log = File::create(self.at("stderr")).expect("a file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = Started(command.spawn().expect("the program starts"));
        let status = eventually("the refusal", || child.0.try_wait().expect("it can be asked"));
        let text = fs::read_to_string(self.at("stderr")).expect("UTF-8");
        assert_eq!(text.trim_end().lines().count(), 1, "{command:?}: one line, not\n{text}");
        assert!(text.starts_with("boveda: "), "{text}");
        (status.code().expect("it exits by itself"), text)
    }

    #[track_caller]
    fn expect(&self, args: &[&str], code: i32, parts: &[&str]) {
        let (got, text) = self.refused(self.command(Path::new(env!("CARGO_BIN_EXE_boveda")), args));
        assert_eq!(got, code, "{args:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    /// `serve` with the directories `data` and `keys`, unless `more` says otherwise: the last one counts.
    #[track_caller]
    fn serve_fails(&self, data: &str, keys: &str, more: &[&str], parts: &[&str]) {
        let ports: &[&str] = if more.contains(&"--listen") { &[] } else { &ANY_PORTS };
        self.expect(&[&["serve", "--data", data, "--key-dir", keys][..], ports, more].concat(), 1, parts);
    }
}

fn copy_ring(place: &Place, to: &str) -> PathBuf {
    fs::create_dir(place.at(to)).expect("a new directory");
    let key = place.at(to).join("kek-0001");
    fs::copy(place.at("keys/kek-0001"), &key).expect("a copy, with its mode");
    key
}

#[test]
fn keys_that_are_missing_foreign_broken_or_open_to_others() {
    let place = Place::with_a_used_node();
    place.serve_fails("data", "nowhere", &[], &["data holds sealed data", "nowhere holds no key", "belongs to it"]);
    assert!(!place.at("nowhere").exists(), "no new key is made for data that it cannot open");

    place.serve_fails(
        "new",
        "nowhere",
        &["--name", "a", "--peer", "a=http://127.0.0.1:1", "--peer", "b=http://127.0.0.1:2"],
        &["no key in nowhere", "boveda key new --key-dir nowhere", "every node"],
    );

    assert!(boveda(&place, &["key", "new", "--key-dir", "other"]));
    place.serve_fails("data", "other", &[], &["was sealed under key", "use the key directory that belongs to it"]);
    place.expect(&["verify", "--data", "data", "--key-dir", "other"], 12, &["sealed under key"]);

    let key = copy_ring(&place, "open");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("it is ours");
    place.serve_fails("data", "open", &[], &["open/kek-0001 has mode 0644", "chmod 0400 open/kek-0001"]);

    let key = copy_ring(&place, "long");
    let mut bytes = fs::read(&key).expect("32 bytes");
    bytes.push(b'\n');
    fs::remove_file(&key).expect("it is ours");
    fs::write(&key, bytes).expect("it is ours");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
    place.serve_fails("data", "long", &[], &["long/kek-0001 holds more bytes", "32 raw bytes", "original file"]);

    copy_ring(&place, "stray");
    fs::write(place.at("stray/README"), "keys").expect("a file");
    place.serve_fails("data", "stray", &[], &["stray/README is not a key file", "move it out"]);
}

#[test]
fn a_first_key_that_is_lost_before_a_rotation_is_told_by_its_id() {
    let place = Place::with_a_used_node();
    assert!(boveda(&place, &["key", "new", "--key-dir", "keys"]));
    let listed = place.command(Path::new(env!("CARGO_BIN_EXE_boveda")), &["key", "list", "--key-dir", "keys"]).output();
    let listed = String::from_utf8(listed.expect("the program runs").stdout).expect("text");
    let first = listed.split_whitespace().nth(3).expect("an id").to_owned();
    fs::remove_file(place.at("keys/kek-0001")).expect("it is ours");
    // Nothing is sealed under the second one yet.
    place.serve_fails("data", "keys", &[], &["sealed under key", &first]);
    place.expect(&["verify", "--data", "data", "--key-dir", "keys"], 12, &["sealed under key", &first]);
}

fn boveda(place: &Place, args: &[&str]) -> bool {
    let ran = place.command(Path::new(env!("CARGO_BIN_EXE_boveda")), args).output();
    ran.expect("the program runs").status.success()
}

#[test]
fn too_few_open_files_are_told_before_anything_is_begun() {
    let place = Place::new();
    for limit in ["20", "28", "71"] {
        let mut command = place.command(Path::new("/bin/sh"), &["-c", "ulimit -n $0 && exec \"$@\"", limit]);
        command.arg(env!("CARGO_BIN_EXE_boveda")).args(["serve", "--data", "data", "--key-dir", "keys"]);
        command.args(ANY_PORTS).env("BOVEDA_NODE_THREADS", "2");
        let (code, text) = place.refused(command);
        assert_eq!(code, 1, "{text}");
        for part in [&format!("the limit of open files is {limit}")[..], "72 are the least", "ulimit -n"] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
    assert!(!place.at("data").exists() && !place.at("keys").exists());
}

#[test]
fn what_keeps_a_directory_from_being_opened_is_damage_for_verify() {
    let place = Place::with_a_used_node();
    for (file, kept) in [("index", 0), ("index", 4096), ("log", 100)] {
        let path = place.at("data").join(file);
        let whole = fs::read(&path).expect("it is there");
        fs::write(&path, &whole[..kept]).expect("it is ours");
        place.serve_fails("data", "keys", &[], &["data directory data: "]);
        let args = ["verify", "--data", "data", "--key-dir", "keys"];
        let ran = place.command(Path::new(env!("CARGO_BIN_EXE_boveda")), &args).output().expect("the program runs");
        let told = String::from_utf8(ran.stdout).expect("UTF-8");
        assert_eq!(ran.status.code(), Some(3), "{file} of {kept} bytes: {told}");
        assert!(told.starts_with("DAMAGED ") && told.contains(" 1 damaged;"), "{file} of {kept} bytes: {told}");
        fs::write(&path, &whole).expect("it is ours");
    }
    for (file, told_at_start) in
        [("log", "missing"), ("index", "missing"), ("identity", "restore its file \"identity\"")]
    {
        let (path, aside) = (place.at("data").join(file), place.at(file));
        fs::rename(&path, &aside).expect("it is ours");
        place.serve_fails("data", "keys", &[], &[told_at_start]);
        let args = ["verify", "--data", "data", "--key-dir", "keys"];
        let ran = place.command(Path::new(env!("CARGO_BIN_EXE_boveda")), &args).output().expect("the program runs");
        let told = String::from_utf8(ran.stdout).expect("UTF-8");
        assert_eq!(ran.status.code(), Some(3), "without {file}: {told}");
        assert!(told.starts_with("DAMAGED ") && told.contains(" 1 damaged;"), "without {file}: {told}");
        fs::rename(&aside, &path).expect("it is ours");
    }
    assert!(boveda(&place, &["verify", "--data", "data", "--key-dir", "keys"]), "nothing was changed by all that");
}

#[test]
fn data_that_is_not_ours_not_this_clusters_or_in_use() {
    let place = Place::with_a_used_node();
    fs::create_dir(place.at("thesis")).expect("a new directory");
    fs::write(place.at("thesis/thesis.txt"), "three years").expect("a file");
    place.serve_fails("thesis", "keys", &[], &["thesis holds other files", "use an empty directory"]);
    assert_eq!(fs::read_to_string(place.at("thesis/thesis.txt")).expect("still there"), "three years");

    fs::write(place.at("file"), "x").expect("a file");
    place.serve_fails("file", "keys", &[], &["cannot create file: not a directory", "node.data (--data)"]);

    let mut command = place.command(
        Path::new(env!("CARGO_BIN_EXE_boveda")),
        &[&["serve", "--data", "data", "--key-dir", "keys"][..], &ANY_PORTS].concat(),
    );
    command.env("BOVEDA_CLUSTER_ID", "00000000000000000000000000000001");
    let (code, text) = place.refused(command);
    assert!(code == 1 && text.contains("belongs to cluster") && text.contains("set cluster.id"), "{text}");

    let node = Node::start();
    let data = node.data().display().to_string();
    let keys = node.home().join("keys").display().to_string();
    place.serve_fails(&data, &keys, &[], &["is in use by another boveda", "--data"]);
    place.expect(&["verify", "--data", &data, "--key-dir", &keys], 11, &["is in use by another boveda"]);
    assert_eq!(node.get("/readyz").status, 200, "the node in possession is not disturbed");

    place.expect(&["verify", "--data", "nowhere"], 10, &["no data directory in nowhere", "--data"]);
    assert!(!place.at("nowhere").exists());
}

#[test]
fn data_that_is_not_where_it_must_be() {
    let place = Place::with_a_used_node();
    let says = ["empty holds no Boveda data", "node.data_must_exist (--require-data)", "mount its volume"];
    fs::create_dir(place.at("empty")).expect("a new directory");
    place.serve_fails("empty", "keys", &["--require-data"], &says);
    place.serve_fails("nowhere", "new", &["--require-data"], &["nowhere holds no Boveda data"]);
    assert!(fs::read_dir(place.at("empty")).expect("there").next().is_none(), "nothing was made in its place");
    assert!(!place.at("nowhere").exists() && !place.at("new").exists());
}

#[test]
fn a_list_of_addresses_that_cannot_be_written_stops_no_start() {
    let place = Place::with_a_used_node();
    // As on a disk without a free byte or inode: nothing can be put in its place.
    fs::remove_file(place.at("data/addresses.json")).expect("it is ours");
    fs::create_dir_all(place.at("data/addresses.json/in-the-way")).expect("it is ours");
    let args = [&["serve", "--data", "data", "--key-dir", "keys"][..], &ANY_PORTS].concat();
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_boveda")), &args);
    let log = File::create(place.at("stderr")).expect("a file");
    command.env("BOVEDA_NODE_LOG", "info").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut child = Started(command.spawn().expect("the program starts"));
    let line = eventually("it to serve", || {
        assert!(child.0.try_wait().expect("it can be asked").is_none(), "it ended");
        let text = fs::read_to_string(place.at("stderr")).expect("UTF-8");
        text.lines().find(|line| line.contains(" serving ")).map(str::to_owned)
    });
    let address = line.split("http=").nth(1).and_then(|rest| rest.split(' ').next()).expect("its address");
    let mut conn = Conn::open(address.parse().expect("an address")).expect("it takes connections");
    assert_eq!(conn.ask("GET", "/v1/objects/cargas/a.txt", &[], b"").expect("an answer").body, b"a");
    let told = fs::read_to_string(place.at("stderr")).expect("UTF-8");
    assert!(told.contains("WARN") && told.contains("addresses.json is not of this start"), "{told}");
}

#[test]
fn addresses_that_cannot_be_had() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("its address").to_string();
    let says = ["cannot listen on", &taken, "stop the program that uses it"];
    let free = ANY_PORT;
    let listen = |http, peer| listening(http, free, peer);
    place.serve_fails(
        "data",
        "keys",
        &listen(&taken, free),
        &[&says[..], &["or change http.listen (--listen)"]].concat(),
    );
    place.serve_fails("data", "keys", &listen(free, &taken), &[&says[..], &["peer.listen (--peer-listen)"]].concat());
    place.serve_fails(
        "data",
        "keys",
        &listening(free, &taken, free),
        &[&says[..], &["or change s3.listen (--s3-listen)"]].concat(),
    );
    // An address kept for documentation: no machine has it.
    let elsewhere = ["192.0.2.1:5002", "peer.listen (--peer-listen) to an address of this machine"];
    place.serve_fails("data", "keys", &listen(free, "192.0.2.1:5002"), &elsewhere);
    assert!(!place.at("data").exists(), "told before anything is touched");
}

#[test]
fn what_this_user_may_not_read_or_write() {
    let place = Place::with_a_used_node();
    let root = rustix::process::geteuid().is_root();
    let binary = place.at("boveda");
    // By a process of its own: what is open for writing here is so, for a moment, in whatever other tests start meanwhile,
    // and what is open for writing anywhere does not run ("Text file busy").
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_boveda")).arg(&binary).status().expect("cp runs");
    assert!(copied.success(), "room for a copy");
    let readable = copy_ring(&place, "readable");
    if root {
        for path in [place.at("readable"), readable] {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
        }
    } else {
        // Without another user at hand the modes alone must keep us out.
        fs::set_permissions(place.at("data"), Permissions::from_mode(0o500)).expect("it is ours");
        fs::set_permissions(place.at("data/lock"), Permissions::from_mode(0o400)).expect("it is ours");
        fs::set_permissions(place.at("keys/kek-0001"), Permissions::from_mode(0o000)).expect("it is ours");
    }
    fs::create_dir(place.at("closed")).expect("a new directory");
    fs::set_permissions(place.at("closed"), Permissions::from_mode(0o555)).expect("it is ours");
    let denied = "Permission denied";
    for (data, keys, parts) in [
        ("data", "readable", ["cannot lock data", denied, "node.data (--data)"]),
        ("closed/data", "readable", ["cannot create closed/data", denied, "this user may write there"]),
        ("closed/data", "closed/keys", ["cannot create closed/keys", denied, "this user may do so"]),
        ("closed/data", "keys", ["cannot read keys", denied, "this user may do so"]),
    ] {
        let args = [&["serve", "--data", data, "--key-dir", keys][..], &ANY_PORTS].concat();
        let mut command = place.command(&binary, &args);
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let (code, text) = place.refused(command);
        assert_eq!(code, 1, "{text}");
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
    fs::set_permissions(place.at("closed"), Permissions::from_mode(0o755)).expect("it is ours");
}
