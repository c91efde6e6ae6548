//! The configuration from outside: layers, refusals in one line, and the documented defaults.

use boveda::config::layers::{env_name, keys};
use boveda::config::table::{SETTINGS, Takes};
use boveda::config::{Config, ConfigError, Durability, Flag, Loaded, Origin, check, load, show};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const SAMPLE: &str = include_str!("../config/boveda.toml");

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn file(text: &str) -> Result<Loaded, ConfigError> {
    load(Some((Path::new("b.toml"), text)), &BTreeMap::new(), &[])
}

fn refused(result: Result<Loaded, ConfigError>) -> String {
    let text = result.expect_err("refused").to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    text
}

fn flag(name: &'static str, key: &'static str, text: &str) -> Flag {
    Flag { name, key, text: text.to_owned() }
}

#[test]
fn the_documented_file_is_the_defaults_key_for_key() {
    let written: toml::Table = SAMPLE.parse().expect("config/boveda.toml is TOML");
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    assert_eq!(written, defaults);
    assert_eq!(file(SAMPLE).unwrap().config, Config::default());

    let order: Vec<&str> = SAMPLE
        .lines()
        .filter(|line| !line.starts_with(['#', '[']))
        .filter_map(|line| line.split_once(" = ").map(|(key, _)| key))
        .collect();
    let known = keys();
    assert_eq!(order, known.iter().map(|key| key.split_once('.').unwrap().1).collect::<Vec<_>>());
}

#[test]
fn every_documented_key_has_its_own_comment() {
    let lines: Vec<&str> = SAMPLE.lines().collect();
    for (above, line) in lines.iter().zip(lines.iter().skip(1)) {
        if !line.starts_with(['#', '[']) && line.contains(" = ") {
            assert!(above.starts_with("# "), "no comment above {line:?}");
        }
    }
}

/// Settings that others see through a function or a plan of the configuration's own.
const READ_AS: [(&str, &str); 7] = [
    ("node.threads", "config.threads()"),
    ("http.in_flight_bytes_max", "plan.requests_bytes"),
    ("store.cache_bytes", "plan.cache_bytes"),
    ("store.index_cache_bytes", "plan.index_cache_bytes"),
    ("memory.ceiling", "config.ceiling()"),
    ("peer.backoff_base", "peer.backoff()"),
    ("peer.backoff_cap", "peer.backoff()"),
];

#[test]
fn every_setting_is_read_by_somebody() {
    let mut sources = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("src/config") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("source text");
                sources
                    .extend(text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|l| [l, "\n"]));
            }
        }
    }
    for key in keys() {
        let wanted = READ_AS.iter().find(|(known, _)| *known == key).map_or(key.as_str(), |(_, read)| read);
        assert!(sources.contains(wanted), "{key} has no effect: nobody reads {wanted}");
    }
}

#[test]
fn flags_beat_the_environment_beats_the_file() {
    let text = "[node]\nname = 'from-file'\nlog = 'warn'\nthreads = 3\n";
    let env = env(&[
        ("BOVEDA_NODE_NAME", "from-env"),
        ("BOVEDA_NODE_LOG", "debug"),
        ("BOVEDA_STORE_INLINE_MAX", "32KiB"),
        ("HOME", "/nowhere"),
    ]);
    let flags = [flag("--name", "node.name", "from-flag")];
    let loaded = load(Some((Path::new("b.toml"), text)), &env, &flags).unwrap();
    let node = &loaded.config.node;
    assert_eq!((node.name.as_str(), node.log.as_str(), node.threads), ("from-flag", "debug", 3));
    assert_eq!(loaded.config.store.inline_max, 32 << 10);
    assert_eq!(loaded.config.threads(), 3);
    assert_eq!(loaded.origin("node.name"), Origin::Flag("--name"));
    assert_eq!(loaded.origin("node.log"), Origin::Environment("BOVEDA_NODE_LOG".to_owned()));
    assert_eq!(loaded.origin("node.threads"), Origin::File("b.toml".into()));
    assert_eq!(loaded.origin("node.data"), Origin::Default);
}

#[test]
fn every_key_can_be_set_by_its_variable() {
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    for key in keys() {
        let (section, name) = key.split_once('.').unwrap();
        let text = match &defaults[section][name] {
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(_) => String::new(),
            other => other.to_string(),
        };
        let variable = env_name(&key);
        let loaded = load(None, &env(&[(&variable, &text)]), &[]).unwrap_or_else(|e| panic!("{variable}: {e}"));
        assert_eq!(loaded.config, Config::default(), "{variable}");
        assert_eq!(loaded.origin(&key), Origin::Environment(variable));
    }
}

#[test]
fn peers_by_file_environment_and_flag() {
    let text = "[cluster]\npeers = [{ name = 'a', url = 'http://h1' }, { name = 'boveda', url = 'http://h2:7' }]";
    let show = |loaded: &Loaded| -> Vec<String> {
        loaded.config.cluster.peers.iter().map(|p| format!("{}={}", p.name, p.url)).collect()
    };
    let from_file = file(text).unwrap();
    assert_eq!(show(&from_file), ["a=http://h1:5002", "boveda=http://h2:7"]);
    let others: Vec<_> = from_file.config.others().map(|peer| peer.name.as_str()).collect();
    assert_eq!(others, ["a"], "a node is not its own peer");

    let tables =
        "[[cluster.peers]]\nname = 'a'\nurl = 'http://h1'\n[[cluster.peers]]\nname = 'b'\nurl = 'http://h2:7'\n";
    assert_eq!(show(&file(tables).unwrap()), ["a=http://h1:5002", "b=http://h2:7"]);

    let vars = env(&[("BOVEDA_CLUSTER_PEERS", "b=http://h3:1, c=http://h4:2")]);
    let from_env = load(Some((Path::new("b.toml"), text)), &vars, &[]).unwrap();
    assert_eq!(show(&from_env), ["b=http://h3:1", "c=http://h4:2"], "replaced as a whole");

    let flags = [flag("--peer", "cluster.peers", "d=http://h5:1")];
    assert_eq!(show(&load(None, &vars, &flags).unwrap()), ["d=http://h5:1"]);
}

#[test]
fn hosts_by_file_and_environment() {
    let text = "[http]\nhosts = ['store.example.org', '*.inside.example']";
    assert_eq!(file(text).unwrap().config.http.hosts, ["store.example.org", "*.inside.example"]);
    let vars = env(&[("BOVEDA_HTTP_HOSTS", "a.example, B.example.,")]);
    let from_env = load(Some((Path::new("b.toml"), text)), &vars, &[]).unwrap();
    assert_eq!(from_env.config.http.hosts, ["a.example", "B.example."], "replaced as a whole");
}

#[test]
fn refusals_name_the_place_the_key_and_the_remedy() {
    for (text, parts) in [
        ("[http]\nlisten = 'localhost'", &["file b.toml", "http.listen", "localhost:5000", "127.0.0.1:5000"][..]),
        ("[http]\nlsten = '127.0.0.1:1'", &["file b.toml", "http.lsten", "did you mean http.listen?"]),
        ("[http]\ninline_max = '1KiB'", &["http.inline_max", "inline_max belongs under [store]"]),
        ("[http]\nzzzzzzzzzzzz = 1", &["http.zzzzzzzzzzzz", "the keys there are", "body_max"]),
        ("[htpp]\nx = 1", &["[htpp]", "the sections are", "[http]"]),
        ("listen = '127.0.0.1:1'", &["listen", "belongs under [http]"]),
        ("[http]\nrequests_max = 'many'", &["http.requests_max", "invalid type", "the default is 1024"]),
        ("[http]\nrequests_max = -1", &["http.requests_max", "-1"]),
        ("[http]\nrequests_max = 0", &["http.requests_max", "out of range", "1 to 1000000"]),
        ("[http]\nbody_max = 5", &["http.body_max", "expected a string"]),
        ("[http]\nbody_max = '6TiB'", &["http.body_max", "6TiB", "5TiB"]),
        ("[http]\nidle_timeout = '30'", &["http.idle_timeout", "such as 250ms"]),
        ("[http]\nhosts = ['a.example', 'https://b.example']", &["http.hosts", "https://b.example", "without scheme"]),
        ("[http]\nhosts = ['a.example:443']", &["http.hosts", "a.example:443", "without scheme and port"]),
        ("[http]\nhosts = ['*']", &["http.hosts", "no host name"]),
        ("[http]\nhosts = ['']", &["http.hosts", "no host name"]),
        ("[http]\nhosts = 'a.example'", &["http.hosts", "expected a sequence"]),
        ("[node]\nname = 'a b'", &["node.name", "letters, digits"]),
        ("[node]\ndata = ''", &["node.data", "empty"]),
        ("[node]\ndata = 'd'\nkey_dir = './x/../d/keys'", &["node.key_dir", "outside"]),
        ("[node]\nlog = 'loud'", &["node.log", "\"loud\"", "off, error"]),
        ("[node]\nlog = 'info,=debug'", &["node.log", "=debug"]),
        ("[cluster]\ndurability = 'all'", &["cluster.durability", "majority or local"]),
        ("[cluster]\nid = 'abc'", &["cluster.id", "32 digits"]),
        ("[cluster]\npeers = [{ name = 'a' }]", &["cluster.peers", "missing field `url`"]),
        ("[cluster]\npeers = [{ name = 'a', url = 'http://h', x = 1 }]", &["cluster.peers", "unknown field `x`"]),
        ("[cluster]\npeers = [{ name = 'a', url = 'https://h' }]", &["cluster.peers", "write http://"]),
        (
            "[cluster]\npeers = [{ name = 'a', url = 'http://h' }, { name = 'a', url = 'http://i' }]",
            &["cluster.peers", "two peers are named a"],
        ),
        (
            "[cluster]\npeers = [{ name = 'a', url = 'http://h' }, { name = 'b', url = 'http://H:5002/' }]",
            &["cluster.peers", "two peers have the URL http://h:5002"],
        ),
        ("[peer]\nlisten = '0.0.0.0:5000'", &["peer.listen", "same port"]),
        ("[s3]\nlisten = '127.0.0.1:5000'", &["s3.listen", "http.listen", "same port"]),
        ("[peer]\nlisten = ':5001'", &["peer.listen", "s3.listen", "same port"]),
        ("[s3]\nlisten = '5001'", &["s3.listen", "not an address"]),
        ("[s3]\ndomains = ['*.s3.example']", &["s3.domains", "without scheme, port and stars"]),
        ("[s3]\nregion = 'EU West'", &["s3.region", "no region"]),
        ("[peer]\nbackoff_base = '20s'", &["peer.backoff_base", "backoff_cap 10s"]),
        ("[store]\ninline_max = '257KiB'", &["store.inline_max", "out of range", "256KiB"]),
        ("[memory]\nceiling = '1MiB'", &["memory.ceiling", "32MiB"]),
        ("[memory]\nceiling = 'lots'", &["memory.ceiling", "not a size"]),
        ("[node]\nname = 'a'\nname = 'b'", &["file b.toml line 3", "duplicate"]),
        ("[node]\n\nname = \n", &["file b.toml line 3"]),
        ("node = 1", &["node", "write [node]"]),
        ("zzzzzzzz = 1", &["zzzzzzzz", "remove it"]),
    ] {
        let line = refused(file(text));
        for part in parts {
            assert!(line.contains(part), "{text:?}: {line:?} does not say {part:?}");
        }
    }
}

#[test]
fn refusals_from_environment_and_flags_name_them() {
    for (name, text, part) in [
        ("BOVEDA_HTTP_LISTNE", "x", "did you mean BOVEDA_HTTP_LISTEN?"),
        ("BOVEDA_WHATEVER_THIS_IS", "x", "unset it"),
        ("BOVEDA_HTTP_REQUESTS_MAX", "1k", "digits only"),
        ("BOVEDA_HTTP_INSECURE_OPEN", "yes", "true or false"),
        ("BOVEDA_CLUSTER_PEERS", "http://h", "NAME=URL"),
        ("BOVEDA_CLUSTER_DURABILITY", "most", "majority or local"),
        (
            "BOVEDA_HTTP_LISTEN",
            "'127.0.0.1:5000'\r",
            "\"'127.0.0.1:5000'\\r\": not an address to listen on; write 127.0.0.1:5000",
        ),
        ("BOVEDA_HTTP_BODY_MAX", "5 Gb", "\"5 Gb\": not a size"),
    ] {
        let line = refused(load(None, &env(&[(name, text)]), &[]));
        assert!(line.starts_with(&format!("environment {name}: ")) && line.contains(part), "{line}");
    }
    let line = refused(load(None, &BTreeMap::new(), &[flag("--durability", "cluster.durability", "some")]));
    assert!(
        line.starts_with("flag --durability: cluster.durability: ") && line.contains("majority or local"),
        "{line}"
    );
    // Of two values that contradict each other, the one that was set last is named.
    let vars = env(&[("BOVEDA_PEER_LISTEN", "127.0.0.1:6000")]);
    let line = refused(load(None, &vars, &[flag("--listen", "http.listen", "127.0.0.1:6000")]));
    assert!(line.starts_with("flag --listen: http.listen: "), "{line}");
}

#[test]
fn what_kubernetes_says_of_its_services_is_passed_over() {
    let links = [
        ("BOVEDA_SERVICE_HOST", "10.0.0.1"),
        ("BOVEDA_PORT", "tcp://10.0.0.1:5000"),
        ("BOVEDA_PORT_5000_TCP_ADDR", "10.0.0.1"),
    ];
    let loaded = load(None, &env(&links), &[]).unwrap();
    assert_eq!(loaded, load(None, &BTreeMap::new(), &[]).unwrap());
}

#[test]
fn a_node_is_open_without_keys_on_loopback_alone_or_with_a_word() {
    let may_be_open = |listen: &str, peer: &str, open: bool| {
        let text = format!("[http]\nlisten = '{listen}'\ninsecure_open = {open}\n[peer]\nlisten = '{peer}'");
        file(&text).unwrap().config.may_be_open()
    };
    let here = ["127.0.0.1:5000", "127.8.9.1:0", "[::1]:5000", "[::ffff:127.0.0.1]:5000"];
    let anywhere = ["0.0.0.0:5000", "10.0.0.1:5000", "[::]:5000", "[::ffff:10.0.0.1]:5000"];
    for listen in here {
        assert!(may_be_open(listen, "127.0.0.1:5002", false), "{listen}");
    }
    for listen in anywhere {
        assert!(!may_be_open(listen, "127.0.0.1:5002", false), "{listen}");
        assert!(may_be_open(listen, "127.0.0.1:5002", true), "{listen}");
    }
    assert!(!may_be_open("127.0.0.1:5000", "0.0.0.0:5002", false), "every listener counts");
}

#[test]
fn remarks_warn_of_what_works_by_accident() {
    let remarks = |text: &str| check::remarks(&file(text).unwrap().config);
    assert_eq!(remarks(""), Vec::<String>::new());
    assert_eq!(remarks(SAMPLE), Vec::<String>::new());
    let open = remarks("[http]\nlisten = '0.0.0.0:5000'\ninsecure_open = true");
    assert!(open.len() == 2 && open[0].contains("read, write and delete"), "{open:?}");
    assert!(open[1].contains("is reached without TLS") && open[1].contains("tls.cert"), "{open:?}");
    assert!(open[1].contains("access keys too"), "{open:?}");
    let sealed = "[http]\nlisten = '0.0.0.0:5000'\ninsecure_open = true\n[tls]\ncert = 'c'\nkey = 'k'";
    assert_eq!(remarks(sealed), open[..1]);
    assert_eq!(remarks("[http]\nlisten = '0.0.0.0:5000'"), open[1..]);
    assert_eq!(remarks(&sealed.replace("true", "false")), Vec::<String>::new());
    let strangers = "[cluster]\npeers = [{ name = 'a', url = 'http://far' }, { name = 'b', url = 'http://localhost' }]";
    let all = remarks(strangers).join("\n");
    assert!(all.contains("no entry named boveda") && all.contains("peer.listen 127.0.0.1:5002"), "{all}");
}

#[test]
fn what_is_shown_reads_back_and_names_its_origins() {
    let text = "[node]\nname = 'n2'\n[cluster]\nid = '00112233445566778899aabbccddeeff'\n\
                peers = [{ name = 'n1', url = 'http://h1' }, { name = 'n2', url = 'http://[::1]:9' }]\n\
                [store]\norphan_grace = '90min'\n[memory]\nceiling = '300MiB'";
    let vars = env(&[("BOVEDA_HTTP_DRAIN_TIMEOUT", "1500ms")]);
    let flags = [flag("--data", "node.data", "/tmp/\"quoted\" # dir")];
    let loaded = load(Some((Path::new("b.toml"), text)), &vars, &flags).unwrap();
    let shown = show::effective(&loaded);
    assert_eq!(load(Some((Path::new("again"), &shown)), &BTreeMap::new(), &[]).unwrap().config, loaded.config);
    for line in [
        "name = \"n2\"  # file b.toml",
        "drain_timeout = \"1500ms\"  # environment BOVEDA_HTTP_DRAIN_TIMEOUT",
        "ceiling = \"300MiB\"  # file b.toml",
        "key_dir = \"./boveda-keys\"",
        "durability = \"majority\"",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line:?} is not in\n{shown}");
    }
    assert!(shown.contains("# flag --data") && shown.contains("]  # file b.toml"), "{shown}");
    assert_eq!(loaded.config.http.drain_timeout, Duration::from_millis(1500));
    assert_eq!(loaded.config.cluster.durability, Durability::Majority);
    assert_eq!(loaded.config.peer.backoff().cap, Duration::from_secs(10));
}

#[test]
fn the_table_of_settings_has_every_key_and_its_limits_hold() {
    let table: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    assert_eq!(table, keys(), "one row for each key of config/boveda.toml, in its order");
    for setting in SETTINGS {
        let (section, name) = setting.key.split_once('.').expect("section.key");
        let (least, most) = match setting.takes {
            Takes::Count(_, min, max) => (min, max),
            Takes::Bytes(_, min, max) | Takes::Period(_, min, max) => (min, max),
            Takes::Parsed | Takes::Checked => continue,
        };
        let text = |n: u64| match setting.takes {
            Takes::Count(..) => format!("[{section}]\n{name} = {n}"),
            Takes::Bytes(..) => format!("[{section}]\n{name} = '{n}B'"),
            _ => format!("[{section}]\n{name} = '{n}ms'"),
        };
        for bad in least.checked_sub(1).into_iter().chain([most + 1]) {
            let why = refused(file(&text(bad)));
            assert!(why.contains(setting.key) && why.contains("out of range"), "{}: {why}", setting.key);
        }
    }
    let why = refused(file("[cluster]\ndecide_timeout = '0s'"));
    assert!(why.contains("cluster.decide_timeout") && why.contains("100ms"), "{why}");
}
