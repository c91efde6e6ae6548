//! The binary as a person or a script meets it: exit codes, one-line refusals, keys, help.

use std::path::Path;
use std::process::{Command, Output};

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn boveda(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Ran {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_boveda"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .current_dir(dir)
        .output()
        .expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: status.code().expect("exits by itself"), out: text(stdout), err: text(stderr) }
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn version_and_help() {
    let dir = dir();
    let version = boveda(dir.path(), &["--version"], &[]);
    assert_eq!((version.code, version.out.trim()), (0, concat!("boveda ", env!("CARGO_PKG_VERSION"))));
    let help = boveda(dir.path(), &["--help"], &[]);
    assert_eq!(help.code, 0);
    for word in ["serve", "demo", "key", "status", "verify", "config", "Exit codes"] {
        assert!(help.out.contains(word), "{word} is not in\n{}", help.out);
    }
    let serve = boveda(dir.path(), &["serve", "--help"], &[]);
    for flag in [
        "--config",
        "--data",
        "--name",
        "--listen",
        "--s3-listen",
        "--peer-listen",
        "--peer",
        "--key-dir",
        "--durability",
        "--insecure-open",
    ] {
        assert!(serve.out.contains(flag), "{flag} is not in\n{}", serve.out);
    }
}

#[test]
fn wrong_usage_is_two() {
    let dir = dir();
    for args in [
        &[][..],
        &["serv"],
        &["serve", "--s3-listen"],
        &["serve", "--s3-listen", "5001"],
        &["serve", "--listen"],
        &["demo", "--base-port", "65530"],
        &["demo", "--base-port", "0"],
        &["key"],
        &["access"],
        &["access", "show", "short"],
        &["config"],
        &["verify", "--listen", "127.0.0.1:1"],
    ] {
        let ran = boveda(dir.path(), args, &[]);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{args:?}");
    }
}

#[test]
fn config_check_prints_what_is_in_force_and_who_set_it() {
    let dir = dir();
    std::fs::write(dir.path().join("b.toml"), "[node]\nname = 'n2'\n[http]\ndrain_timeout = '5s'\n").unwrap();
    let args = ["config", "check", "--config", "b.toml", "--peer", "n1=http://h1", "--peer", "n2=http://h2:7"];
    let ran = boveda(dir.path(), &args, &[("BOVEDA_NODE_THREADS", "2"), ("HOME", "/")]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for line in [
        "name = \"n2\"  # file b.toml",
        "threads = 2  # environment BOVEDA_NODE_THREADS",
        "drain_timeout = \"5s\"  # file b.toml",
        "]  # flag --peer",
        "requests_max = 1024",
    ] {
        assert!(ran.out.lines().any(|l| l == line), "{line:?} is not in\n{}", ran.out);
    }
    assert!(ran.err.starts_with("warning: peer.listen 127.0.0.1:5002"), "{}", ran.err);

    std::fs::write(dir.path().join("again.toml"), &ran.out).unwrap();
    let again = boveda(dir.path(), &["config", "check", "--config", "again.toml"], &[]);
    let values = |text: &str| text.lines().map(|l| l.split("  #").next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(values(&again.out), values(&ran.out));

    let defaults = boveda(dir.path(), &["config", "check"], &[]);
    assert!(defaults.code == 0 && !defaults.out.contains('#') && defaults.err.is_empty(), "{}", defaults.out);
}

#[test]
fn refusals_are_one_line_and_two() {
    let dir = dir();
    std::fs::write(dir.path().join("b.toml"), "[http]\nlistne = 1\n").unwrap();
    for command in [&["serve"][..], &["config", "check"]] {
        for (args, env, part) in [
            (&["--config", "none.toml"][..], &[][..], "none.toml cannot be read"),
            (&["--config", "b.toml"], &[], "did you mean http.listen?"),
            (&["--durability", "some"], &[], "majority or local"),
            (&["--peer", "n1"], &[], "NAME=URL"),
            (&["--key-dir", "boveda-data/keys"], &[], "name a directory outside"),
            (&[], &[("BOVEDA_ACCESS_KEYS", "x")], "unset it"),
            (&["--listen", "localhost"], &[], "\"localhost\": not an address to listen on"),
        ] {
            let ran = boveda(dir.path(), &[command, args].concat(), env);
            assert_eq!(ran.code, 2, "{command:?} {args:?}: {}", ran.err);
            assert!(ran.err.starts_with("boveda: ") && ran.err.contains(part), "{args:?}: {}", ran.err);
            assert_eq!(ran.err.trim_end().lines().count(), 1, "{}", ran.err);
            assert!(ran.out.is_empty());
        }
    }
    let open = ["config", "check", "--listen", "0.0.0.0:5000", "--insecure-open"];
    let ran = boveda(dir.path(), &open, &[]);
    assert!(ran.code == 0 && ran.err.starts_with("warning: ") && ran.err.contains("is open"), "{}", ran.err);
    let ran = boveda(dir.path(), &["config", "check", "--listen", "0.0.0.0:5000"], &[]);
    assert!(
        ran.code == 0 && ran.err.starts_with("warning: ") && ran.err.contains("is reached without TLS"),
        "{}",
        ran.err
    );
    // By these a client says who it is; they set nothing.
    let client = [("BOVEDA_ACCESS_KEY", "AAAAAAAAAAAAAAAAAAAA"), ("BOVEDA_SECRET_KEY", "secret-of-a-client")];
    let ran = boveda(dir.path(), &["config", "check"], &client);
    assert!(ran.code == 0 && !ran.out.contains("secret-of-a-client"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "a refused start leaves nothing behind");
}

#[test]
fn keys_are_made_and_listed_but_never_shown() {
    let dir = dir();
    let none = boveda(dir.path(), &["key", "list"], &[]);
    assert!(none.code == 10 && none.err.contains("boveda key new"), "{} {}", none.code, none.err);

    let first = boveda(dir.path(), &["key", "new"], &[]);
    assert_eq!(first.code, 0, "{}", first.err);
    let second = boveda(dir.path(), &["key", "new"], &[("BOVEDA_NODE_KEY_DIR", "./boveda-keys")]);
    assert!(second.out.starts_with("generation 2  id "), "{}", second.out);
    let listed = boveda(dir.path(), &["key", "list", "--key-dir", "boveda-keys"], &[]);
    let id = |line: &str| line.split_whitespace().nth(3).unwrap().to_owned();
    let lines: Vec<&str> = listed.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", listed.out);
    assert_eq!(id(lines[0]), id(&first.out));
    assert_eq!(id(lines[1]), id(&second.out));
    assert_eq!(lines[0], format!("generation 1  id {}", id(lines[0])), "nothing of the key");

    let hex = |name: &str| -> String {
        let key = std::fs::read(dir.path().join("boveda-keys").join(name)).unwrap();
        assert_eq!(key.len(), 32);
        key.iter().map(|b| format!("{b:02x}")).collect()
    };
    for key in [hex("kek-0001"), hex("kek-0002")] {
        assert!(
            ![&first, &second, &listed].iter().any(|ran| ran.out.contains(&key[..16]) || ran.err.contains(&key[..16]))
        );
    }

    let elsewhere = boveda(dir.path(), &["key", "new", "--key-dir", "other"], &[]);
    assert!(elsewhere.out.contains("generation 1") && elsewhere.out.contains("other/kek-0001"), "{}", elsewhere.out);
    assert_ne!(id(&elsewhere.out), id(&first.out));

    std::fs::write(dir.path().join("other/kek-0002"), "short").unwrap();
    let broken = boveda(dir.path(), &["key", "new", "--key-dir", "other"], &[]);
    assert_eq!((broken.code, broken.out.as_str()), (2, ""), "{}", broken.err);
    assert!(!dir.path().join("other/kek-0003").exists(), "no key is added to a ring that does not open");
}
