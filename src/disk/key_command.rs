//! A command that prints the keys of the ring: for those that lie in a vault, or are opened by a service.
//!
//! Invariants
//! - It is run as it stands, word by word: no shell reads it.
//! - What it prints is a ring by the letter, or it is refused as a whole: one line for each generation, its name and its
//!   key, as 64 hexadecimal digits or as base64 of 32 bytes.
//! - It ends in time, or all that it has started is ended. Nothing that it prints to stdout is ever logged.

use super::keydir::{KEY_BYTES, Keys, generation_of};
use crate::base::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Most bytes that it may print: some hundred generations.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Most bytes of its stderr that are logged.
const SAID_BYTES_MAX: u64 = 4 << 10;

/// Why a command gave no ring: one line with the cause and the remedy. Nothing of what it printed is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyCommandError {
    /// It could not be started.
    #[error("cannot run {program} (node.key_command): {source}")]
    Start {
        /// Its first word.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It did not end, or what it had started did not.
    #[error(
        "{program} (node.key_command) has not ended within {within:?}, and was killed: see node.key_command_timeout"
    )]
    Late {
        /// Its first word.
        program: String,
        /// How long it had.
        within: Duration,
    },
    /// It failed.
    #[error("{program} (node.key_command) failed with {status}: what it said on stderr is in the log")]
    Failed {
        /// Its first word.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// It printed more than any ring takes.
    #[error("{program} (node.key_command) printed more than {OUTPUT_BYTES_MAX} bytes: it is to print keys alone")]
    Long {
        /// Its first word.
        program: String,
    },
    /// It printed something that is no key.
    #[error(
        "{program} (node.key_command): line {line} of what it printed {what}; a line is 'kek-0001 KEY', and KEY 64 hexadecimal digits, or base64 of 32 bytes"
    )]
    Line {
        /// Its first word.
        program: String,
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It printed nothing.
    #[error("{program} (node.key_command) printed no key")]
    Nothing {
        /// Its first word.
        program: String,
    },
}

/// What one of those who wait for the command has to tell.
enum Heard {
    Ended(io::Result<ExitStatus>),
    Printed(io::Result<Secret<Vec<u8>>>),
    Said(String),
}

/// Runs the command, and gives the ring that it prints, in rising order. Waits for it, for `within` at most.
pub fn run(words: &[String], within: Duration) -> Result<Keys, KeyCommandError> {
    let (program, args) = words.split_first().map_or(("", words), |(first, rest)| (first.as_str(), rest));
    let fail = |source| KeyCommandError::Start { program: program.to_owned(), source };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own: whatever it starts can be ended with it.
    let mut child = command.process_group(0).spawn().map_err(fail)?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (tell, heard) = channel();
    on_a_thread(&tell, move || Heard::Printed(read(stdout)));
    on_a_thread(&tell, move || Heard::Said(listen(stderr)));
    on_a_thread(&tell, move || Heard::Ended(child.wait()));
    let outcome = gather(program, &heard, within);
    if matches!(outcome, Err(KeyCommandError::Late { .. } | KeyCommandError::Long { .. }))
        && let Some(group) = group
    {
        // It may be gone by now.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let (status, printed) = outcome?;
    let status = status.map_err(fail)?;
    if !status.success() {
        return Err(KeyCommandError::Failed { program: program.to_owned(), status });
    }
    parse(program, printed.map_err(fail)?.expose())
}

type Outcome = (io::Result<ExitStatus>, io::Result<Secret<Vec<u8>>>);

/// Waits until the command has ended and both of its pipes with it, and logs what it has said.
fn gather(program: &str, heard: &Receiver<Heard>, within: Duration) -> Result<Outcome, KeyCommandError> {
    let deadline = Instant::now() + within;
    let (mut status, mut printed, mut has_said) = (None, None, false);
    loop {
        if let (Some(_), Some(_), true) = (&status, &printed, has_said) {
            break;
        }
        match heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Heard::Ended(ended)) => status = Some(ended),
            Ok(Heard::Said(text)) => {
                has_said = true;
                log_said(program, &text);
            }
            Ok(Heard::Printed(Ok(bytes))) if bytes.expose().len() > OUTPUT_BYTES_MAX => {
                return Err(KeyCommandError::Long { program: program.to_owned() });
            }
            Ok(Heard::Printed(bytes)) => printed = Some(bytes),
            Err(_) => return Err(KeyCommandError::Late { program: program.to_owned(), within }),
        }
    }
    status.zip(printed).ok_or_else(|| KeyCommandError::Late { program: program.to_owned(), within })
}

fn on_a_thread(tell: &Sender<Heard>, work: impl FnOnce() -> Heard + Send + 'static) {
    let tell = tell.clone();
    // Nobody may be waiting any more.
    thread::spawn(move || drop(tell.send(work())));
}

/// What it prints, and no more of that than can be too much.
fn read(stdout: Option<ChildStdout>) -> io::Result<Secret<Vec<u8>>> {
    // Grown in one step: no copy is left behind by a buffer that moves.
    let mut bytes = Vec::with_capacity(OUTPUT_BYTES_MAX + 1);
    let read = stdout.map_or(Ok(0), |out| out.take(OUTPUT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    let bytes = Secret::new(bytes);
    read.map(|_| bytes)
}

/// The beginning of what it says; the rest is read, so that it can go on, and dropped.
fn listen(stderr: Option<ChildStderr>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut said) = stderr {
        let _ = said.by_ref().take(SAID_BYTES_MAX).read_to_end(&mut bytes);
        let _ = io::copy(&mut said, &mut io::sink());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn log_said(program: &str, text: &str) {
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        log::warn!(program, says:% = line.escape_debug(); "the key command says something");
    }
}

/// The generations in what was printed.
fn parse(program: &str, printed: &[u8]) -> Result<Keys, KeyCommandError> {
    let mut keys = Keys::new();
    let text = printed.strip_suffix(b"\n").unwrap_or(printed);
    for (line, number) in text.split(|byte| *byte == b'\n').zip(1..).filter(|_| !text.is_empty()) {
        let wrong = |what| KeyCommandError::Line { program: program.to_owned(), line: number, what };
        let at = line.iter().position(|byte| *byte == b' ').ok_or_else(|| wrong("is not a name and a key"))?;
        let (name, key) = line.split_at(at);
        let generation = std::str::from_utf8(name).ok().and_then(generation_of);
        let generation = generation.ok_or_else(|| wrong("does not begin with kek-0001, kek-0002 and so on"))?;
        let key = key_of(key.get(1..).unwrap_or_default()).ok_or_else(|| wrong("holds no key"))?;
        if key.expose() == &[0; KEY_BYTES] {
            return Err(wrong("holds zeros"));
        }
        keys.push((generation, key));
    }
    if keys.is_empty() {
        return Err(KeyCommandError::Nothing { program: program.to_owned() });
    }
    keys.sort_by_key(|(generation, _)| *generation);
    Ok(keys)
}

/// A key as text: 64 hexadecimal digits, or base64 of 32 bytes.
fn key_of(text: &[u8]) -> Option<Secret<[u8; KEY_BYTES]>> {
    // One more than a key: base64 of that length may hold as much.
    let mut bytes = [0; KEY_BYTES + 1];
    let is_whole = match text.len() {
        64 => text.chunks(2).zip(&mut bytes).all(|(digits, byte)| {
            let value = std::str::from_utf8(digits).ok().filter(|two| two.bytes().all(|d| d.is_ascii_hexdigit()));
            value.and_then(|two| u8::from_str_radix(two, 16).ok()).map(|value| *byte = value).is_some()
        }),
        44 => STANDARD.decode_slice(text, &mut bytes).is_ok_and(|len| len == KEY_BYTES),
        _ => false,
    };
    let key = bytes.first_chunk().filter(|_| is_whole).map(|key| Secret::new(*key));
    // `Secret` wiped nothing of the copy here; the black box keeps this from being optimised away.
    bytes.fill(0);
    std::hint::black_box(&bytes);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn printed(text: &str) -> Result<Vec<(u32, [u8; KEY_BYTES])>, String> {
        let keys = parse("p", text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(keys.iter().map(|(generation, key)| (*generation, *key.expose())).collect())
    }

    #[test]
    fn a_ring_is_printed_line_by_line() {
        let key: [u8; KEY_BYTES] = std::array::from_fn(|n| u8::try_from(n).expect("small"));
        for text in [format!("kek-0001 {HEX}"), format!("kek-0001 {HEX}\n"), format!("kek-0001 {BASE64}\n")] {
            assert_eq!(printed(&text), Ok(vec![(1, key)]), "{text}");
        }
        let other = "b".repeat(64);
        let two = printed(&format!("kek-0012 {other}\nkek-0002 {HEX}\n"));
        assert_eq!(two, Ok(vec![(2, key), (12, [0xbb; KEY_BYTES])]));
    }

    #[test]
    fn whatever_else_is_printed_is_refused_and_not_shown() {
        let zeros = format!("kek-0001 {}", "0".repeat(64));
        for text in [
            String::new(),
            "\n".to_owned(),
            HEX.to_owned(),
            format!("kek-1 {HEX}"),
            format!("kek-0001  {HEX}"),
            format!("kek-0001\t{HEX}"),
            format!("kek-0001 {HEX} "),
            format!("kek-0001 {HEX}\r\n"),
            format!("kek-0001 {HEX}\n\n"),
            format!("kek-0001 0x{HEX}"),
            format!("kek-0001 +{}", &HEX[1..]),
            format!("kek-0001 {}", &HEX[2..]),
            format!("kek-0001 {}g", &HEX[1..]),
            format!("kek-0001 {}", &BASE64[1..]),
            format!("kek-0001 {}AAA", &BASE64[..41]),
            format!("# ours\nkek-0001 {HEX}"),
            zeros,
        ] {
            let why = printed(&text).expect_err("refused");
            assert!(why.starts_with("p (node.key_command)") && !why.contains('\n'), "{text:?}: {why}");
            assert!(!why.contains("0203") && !why.contains("AAEC"), "{why}");
        }
    }

    fn sh(script: &str, within: Duration) -> Result<Keys, KeyCommandError> {
        run(&["sh".to_owned(), "-c".to_owned(), script.to_owned()], within)
    }

    #[test]
    fn a_command_fails_hangs_or_prints_too_much() {
        let long = Duration::from_secs(60);
        assert_eq!(sh(&format!("echo kek-0003 {HEX}; echo said >&2"), long).expect("a ring").len(), 1);
        assert!(matches!(sh("exit 3", long), Err(KeyCommandError::Failed { status, .. }) if status.code() == Some(3)));
        assert!(matches!(sh(&format!("echo kek-0003 {HEX}; exit 1"), long), Err(KeyCommandError::Failed { .. })));
        assert!(matches!(sh("exit 0", long), Err(KeyCommandError::Nothing { .. })));
        assert!(matches!(sh("cat /dev/zero", long), Err(KeyCommandError::Long { .. })));
        // What says more than is logged is not kept from ending.
        assert!(sh(&format!("head -c 300000 /dev/zero >&2; echo kek-0003 {HEX}"), long).is_ok());
        let begun = Instant::now();
        assert!(matches!(sh("sleep 600", Duration::from_millis(100)), Err(KeyCommandError::Late { .. })));
        // What it has left behind holds its stdout.
        assert!(matches!(sh("sleep 600 & exit 0", Duration::from_millis(100)), Err(KeyCommandError::Late { .. })));
        assert!(begun.elapsed() < long);
        assert!(matches!(run(&["/no/such/program".to_owned()], long), Err(KeyCommandError::Start { .. })));
        assert!(matches!(run(&[], long), Err(KeyCommandError::Start { .. })));
    }
}
