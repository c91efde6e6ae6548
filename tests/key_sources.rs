//! Where a ring comes from besides plain files: a command that prints it, key files wrapped under a passphrase. Real
//! processes throughout.

mod common;

use common::cluster::path;
use common::{Node, eventually};
use rustix::process::Signal;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

const FIRST: &str = "kek-0001 1111111111111111111111111111111111111111111111111111111111111111";
const SECOND: &str = "kek-0002 2222222222222222222222222222222222222222222222222222222222222222";
const OTHER: &str = "kek-0001 3333333333333333333333333333333333333333333333333333333333333333";

/// A node whose ring a script prints: what stands in a file, which tests write.
struct Printed {
    node: Node,
    script: PathBuf,
}

impl Printed {
    fn new() -> Self {
        let mut node = Node::prepared(&[], None);
        let script = node.home().join("ring with a blank");
        node.set("BOVEDA_NODE_KEY_COMMAND", &format!("[\"sh\", {:?}]", script.to_str().expect("UTF-8")));
        Printed { node, script }
    }

    fn prints(&self, lines: &[&str]) {
        let echo = |line: &&str| format!("echo '{line}'\n");
        self.does(&lines.iter().map(echo).collect::<String>());
    }

    fn does(&self, script: &str) {
        // A shell that reads it now has the one before.
        let staged = self.script.with_extension("new");
        fs::write(&staged, script).expect("written");
        fs::rename(staged, &self.script).expect("replaced");
    }

    /// What a start says that fails.
    fn refused(&self) -> String {
        let ended = ended(self.node.serve());
        assert_eq!(ended.status.code(), Some(1));
        last_line(&ended)
    }
}

fn ended(mut command: Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the binary starts")
}

/// The refusal: log lines may stand before it.
fn last_line(ended: &Output) -> String {
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    text.lines().last().expect("a line").to_owned()
}

fn sealing(node: &Node) -> u64 {
    let status = node.get("/v1/cluster").json();
    let all = status["key_generations"].as_array().expect("a list").clone();
    all.iter().find(|key| key["active"] == true).expect("one seals")["number"].as_u64().expect("a number")
}

#[test]
fn a_command_prints_the_ring_at_the_start_and_again_on_sighup() {
    let mut printed = Printed::new();
    printed.prints(&[FIRST]);
    printed.node.begin();
    assert_eq!(printed.node.put(&path("a"), b"a").status, 201);
    assert!(!printed.node.keys().exists(), "no key is made");

    printed.prints(&[FIRST, SECOND]);
    printed.node.signal(Signal::HUP);
    printed.node.rotate(2);
    eventually("the second generation to seal", || (sealing(&printed.node) == 2).then_some(()));
    assert_eq!(printed.node.put(&path("b"), b"b").status, 201);

    // What is wrong later changes nothing, and is said.
    let refused = |what: &str| {
        printed.node.signal(Signal::HUP);
        eventually(what, || printed.node.log().contains(what).then_some(()));
        let degraded = || printed.node.get("/readyz").json()["degraded"]["keys"].is_string().then_some(());
        eventually("it to be degraded", degraded);
        assert_eq!(printed.node.get(&path("b")).body, b"b");
    };
    printed.does("echo the vault is sealed >&2; exit 7");
    refused("exit status: 7");
    assert!(printed.node.log().contains("the vault is sealed"), "what it said is in the log");
    printed.prints(&[SECOND]);
    refused("generation 1 is gone");
    printed.prints(&[OTHER, SECOND]);
    refused("generation 1 holds another key");
    printed.prints(&[FIRST, SECOND]);
    printed.node.signal(Signal::HUP);
    eventually("it to be well", || {
        printed.node.get("/readyz").json()["degraded"].as_object().is_some_and(|none| none.is_empty()).then_some(())
    });

    assert!(printed.node.stop().success());
    printed.node.begin();
    assert_eq!((printed.node.get(&path("a")).body, printed.node.get(&path("b")).body), (b"a".to_vec(), b"b".to_vec()));
    assert!(!printed.node.log().contains("2222"), "no key is logged");
    assert!(printed.node.stop().success());
    let listed = ended(printed.node.command(&["verify"]));
    assert!(listed.status.success(), "{}", last_line(&listed));
}

#[test]
fn a_command_that_does_not_give_the_ring_is_told_as_that() {
    let mut printed = Printed::new();
    printed.prints(&[FIRST]);
    printed.node.begin();
    assert!(printed.node.stop().success());
    let file = printed.node.data().join("identity");
    let identity = || fs::read(&file).expect("a made directory");
    let before = identity();

    for (script, why) in [
        ("exit 3", "failed with exit status: 3"),
        ("kill -9 $$", "failed with signal: 9"),
        ("true", "printed no key"),
        ("cat /dev/zero", "printed more than 65536 bytes"),
        ("echo hello world", "line 1 of what it printed does not begin with kek-0001"),
        ("echo kek-0001 11", "line 1 of what it printed holds no key"),
        ("echo; echo", "line 1 of what it printed is not a name and a key"),
    ] {
        printed.does(script);
        let said = printed.refused();
        assert!(said.contains(why) && said.contains("node.key_command"), "{script}: {said}");
    }
    printed.prints(&[FIRST, FIRST]);
    assert!(printed.refused().contains("generation 1 is there twice"));
    printed.prints(&[OTHER]);
    let said = printed.refused();
    assert!(said.contains("sealed under key"), "{said}");
    assert!(!said.contains("3333"), "{said}");

    printed.node.set("BOVEDA_NODE_KEY_COMMAND_TIMEOUT", "200ms");
    let left = printed.node.home().join("left");
    printed.does(&format!("sleep 600 & echo $! >'{}'; wait", left.display()));
    let begun = Instant::now();
    assert!(printed.refused().contains("has not ended within 200ms, and was killed"));
    assert!(begun.elapsed() < common::DEADLINE);
    // What it had started ends with it; the system may keep its entry, without a command line.
    let left = fs::read_to_string(left).expect("it had begun");
    let runs = || fs::read(format!("/proc/{}/cmdline", left.trim())).is_ok_and(|line| !line.is_empty());
    eventually("what it had started to end", || (!runs()).then_some(()));
    printed.node.set("BOVEDA_NODE_KEY_COMMAND", "/no/such program");
    assert!(printed.refused().contains("cannot run /no/such program"));
    // A text that is no list is one word: no shell takes it apart.
    printed.node.set("BOVEDA_NODE_KEY_COMMAND", "echo kek-0001");
    assert!(printed.refused().contains("cannot run echo kek-0001"));
    printed.node.set("BOVEDA_NODE_KEY_COMMAND", "[\"sh\", 1]");
    let ended = ended(printed.node.command(&["serve"]));
    assert!(ended.status.code() == Some(2) && last_line(&ended).contains("BOVEDA_NODE_KEY_COMMAND"), "{ended:?}");
    assert_eq!(identity(), before, "nothing was touched");
}

#[test]
fn keys_are_not_made_where_a_command_prints_them() {
    let printed = Printed::new();
    printed.prints(&[FIRST, SECOND]);
    let key = |command: &str| {
        let mut key = Command::new(env!("CARGO_BIN_EXE_boveda"));
        let words = format!("[\"sh\", {:?}]", printed.script.to_str().expect("UTF-8"));
        key.args(["key", command]).env("BOVEDA_NODE_KEY_COMMAND", words).current_dir(printed.node.home());
        ended(key)
    };
    let made = key("new");
    assert!(made.status.code() == Some(2) && last_line(&made).contains("kek-0003"), "{made:?}");
    let listed = key("list");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.status.success() && text.lines().count() == 2 && text.contains("generation 2"), "{text}");
    assert!(!text.contains("2222") && !printed.node.home().join("boveda-keys").exists());
}

/// A passphrase in a file of its owner.
fn passphrase(dir: &Path, name: &str, text: &str) -> PathBuf {
    let file = dir.join(name);
    fs::write(&file, text).expect("written");
    fs::set_permissions(&file, Permissions::from_mode(0o400)).expect("ours");
    file
}

fn key(args: &[&str], keys: &Path, env: &[(&str, &str)]) -> Output {
    let mut key = Command::new(env!("CARGO_BIN_EXE_boveda"));
    key.arg("key").args(args).arg("--key-dir").arg(keys).envs(env.iter().copied());
    ended(key)
}

#[test]
fn a_wrapped_ring_opens_by_its_passphrase_alone() {
    let mut node = Node::prepared(&[], None);
    let right = passphrase(node.home(), "right", "correct horse battery staple\n");
    let wrong = passphrase(node.home(), "wrong", "correct horse battery stable\n");
    let (right, wrong) = (right.to_str().expect("UTF-8").to_owned(), wrong.to_str().expect("UTF-8").to_owned());
    let keys = node.keys().to_owned();
    let made = key(&["new", "--passphrase-file", &right], &keys, &[]);
    assert!(made.status.success() && String::from_utf8_lossy(&made.stdout).trim_end().ends_with("wrapped"), "{made:?}");
    let file = fs::read(keys.join("kek-0001")).expect("a file");
    assert!(file.len() == 96 && file.starts_with(b"BVK1"));

    let without = last_line(&ended(node.serve()));
    assert!(without.contains("kek-0001") && without.contains("BOVEDA_KEY_PASSPHRASE"), "{without}");
    let mut serve = node.serve();
    serve.args(["--passphrase-file", &wrong]);
    let misled = last_line(&ended(serve));
    assert!(misled.contains("kek-0001") && misled.contains("the passphrase is another one"), "{misled}");
    assert!(!misled.contains("stable") && !node.data().join("identity").exists());

    node.set("BOVEDA_NODE_KEY_PASSPHRASE_FILE", &right);
    node.begin();
    assert_eq!(node.put(&path("a"), b"a").status, 201);
    // A plain one beside it, which the running node takes in.
    assert!(key(&["new"], &keys, &[]).status.code() == Some(12), "the ring does not open");
    let made = key(&["new", "--passphrase-file", &right], &keys, &[]);
    assert!(made.status.success(), "{made:?}");
    node.rotate(2);
    eventually("the second generation to seal", || (sealing(&node) == 2).then_some(()));
    assert!(node.stop().success());

    let listed = key(&["list"], &keys, &[("BOVEDA_KEY_PASSPHRASE", "correct horse battery staple")]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.lines().count() == 2 && text.lines().all(|line| line.ends_with(", wrapped")), "{text}");
    let denied = key(&["list"], &keys, &[("BOVEDA_KEY_PASSPHRASE", "correct horse")]);
    assert!(denied.status.code() == Some(12) && last_line(&denied).contains("another one"), "{denied:?}");

    // By a pipe: read once, and kept for what comes later.
    let pipe = node.home().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it is there").success());
    node.set("BOVEDA_NODE_KEY_PASSPHRASE_FILE", pipe.to_str().expect("UTF-8"));
    let writer = std::thread::spawn(move || fs::write(pipe, "correct horse battery staple\n"));
    node.begin();
    writer.join().expect("no panic").expect("written");
    assert_eq!(node.get(&path("a")).body, b"a");
    assert!(key(&["new", "--passphrase-file", &right], &keys, &[]).status.success());
    node.rotate(3);
    eventually("the third generation to seal", || (sealing(&node) == 3).then_some(()));
    assert!(node.stop().success());
    node.set("BOVEDA_NODE_KEY_PASSPHRASE_FILE", &right);
    // And by one that is open already.
    let mut piped = Command::new("sh");
    piped.args(["-c", "exec 3< \"$0\"; cat <&3 | \"$@\"", &right]);
    let binary = env!("CARGO_BIN_EXE_boveda");
    piped.args([binary, "verify", "--passphrase-file", "/dev/fd/0", "--data"]).arg(node.data());
    piped.arg("--key-dir").arg(&keys);
    let verified = piped.output().expect("a shell");
    assert!(verified.status.success(), "{verified:?}");

    // Others could read it.
    fs::set_permissions(&right, Permissions::from_mode(0o644)).expect("ours");
    let open = last_line(&ended(node.serve()));
    assert!(open.contains("chmod 0400"), "{open}");
}
