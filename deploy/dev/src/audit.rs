//! What no log may hold, looked for in everything that a stack has logged: after all tests have run, the
//! logs have seen whatever the tests did.
//!
//! Secrets are looked for by their value where the runner knows it, and else by their shape: tokens,
//! signed addresses, phone and account numbers, one-time passwords, bytes of audio. Lines of Talktime's
//! own processes must also be JSON, with the trace where they belong to a request.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::instance;
use crate::secrets;
use crate::stack::Stack;

/// Findings that are shown, at most; one is enough to fail.
const SHOWN_MAX: usize = 20;
/// Longer lines hold something that was not written to be read.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Shorter lines of a key's file (`-----END`) stand in no relation to the key.
const KEY_LINE_CHARS_MIN: usize = 24;
/// Digits of phone numbers (E.164) and of bank accounts (9 to 18).
const LONG_NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 9..=18;
const OTP_DIGITS: usize = 6;
/// Longer words are ids, or what they should not be.
const READABLE_CHARS_MAX: usize = 24;
const SHAPE_CHARS_MAX: usize = 160;
/// So many letters and digits without a break are encoded bytes.
const ENCODED_CHARS_MIN: usize = 200;
/// Parts of field names whose values are secrets.
const SECRET_FIELDS: [&str; 8] = [
    "otp",
    "password",
    "secret",
    "token",
    "phone",
    "authorization",
    "account_number",
    "pem",
];
/// Fields that are named like secrets and are none.
const HARMLESS_FIELDS: [&str; 1] = ["phone_ends_in"];
/// What the first bytes of audio look like, and what makes an address a key.
const FORBIDDEN_WORDS: [(&str, &str); 5] = [
    ("RIFF", "audio"),
    ("ftypM4A", "audio"),
    ("X-Amz-Signature", "a signed address"),
    ("X-Amz-Credential", "a signed address"),
    ("-----BEGIN", "a key"),
];

/// Something that a log holds and should not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    place: String,
    what: &'static str,
    /// The line's beginning, without what it should not hold.
    shape: String,
}

/// The lines of a test's report, and whether it passed.
pub(crate) fn report(stack: &Stack) -> Result<(String, bool)> {
    let (lines, findings) = audit(stack)?;
    let passed = findings.is_empty() && lines > 0;
    let verdict = if passed { "ok" } else { "FAILED" };
    let mut report = vec![format!(
        "\ntest logs::hold_no_secrets_and_are_json ... {verdict}"
    )];
    let shown = findings.iter().take(SHOWN_MAX);
    report.extend(shown.map(|finding| {
        let Finding { place, what, shape } = finding;
        format!("  {place}: {what}: {shape}")
    }));
    let found = findings.len();
    report.push(format!("  {lines} lines looked through, {found} findings"));
    Ok((report.join("\n"), passed))
}

/// How many lines there are, and what was found in them.
fn audit(stack: &Stack) -> Result<(usize, Vec<Finding>)> {
    let known = secrets::known(stack)?;
    let mut lines = 0;
    let mut findings = Vec::new();
    for instance in instance::all() {
        let path = stack.log(&instance.name());
        let Some(log) = read(&path)? else { continue };
        for (number, line) in log.split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            lines += 1;
            let place = format!("{}:{}", path.display(), number + 1);
            let is_ours = !instance.unit.is_part();
            findings.extend(looked_at(line, is_ours, &known).map(|what| Finding {
                place,
                what,
                shape: shape(line),
            }));
        }
    }
    Ok((lines, findings))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(log) => Ok(Some(log)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// A line's first words, with digits and whatever may be encoded made unreadable.
fn shape(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let words = text.split_inclusive(|character: char| !character.is_ascii_alphanumeric());
    let readable = |word: &str| -> String {
        if word.len() > READABLE_CHARS_MAX {
            return "…".to_owned();
        }
        word.replace(|character: char| character.is_ascii_digit(), "#")
    };
    words
        .map(readable)
        .collect::<String>()
        .chars()
        .take(SHAPE_CHARS_MAX)
        .collect()
}

/// What is wrong with a line, if anything.
fn looked_at(line: &[u8], is_ours: bool, known: &[String]) -> Option<&'static str> {
    let Ok(text) = std::str::from_utf8(line) else {
        return Some("bytes that are no text");
    };
    if text.len() > LINE_BYTES_MAX {
        return Some("a line without end");
    }
    if known.iter().any(|secret| text.contains(secret.as_str())) {
        return Some("a secret of this stack");
    }
    let word = FORBIDDEN_WORDS.iter().find(|(word, _)| text.contains(word));
    if let Some((_, what)) = word {
        return Some(what);
    }
    if holds_token(text) {
        return Some("a token");
    }
    if is_ours {
        of_ours(text)
    } else {
        long_number(text)
    }
}

/// A line of a process of ours: JSON, and each value in it looked at.
fn of_ours(text: &str) -> Option<&'static str> {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        return Some("a line that is no JSON object");
    };
    let is_text = |name| fields.get(name).is_some_and(Value::is_string);
    if !is_text("timestamp") || !is_text("level") {
        return Some("a line without a time or a level");
    }
    if !has_trace(&fields) {
        return Some("a line of a request without its trace");
    }
    fields
        .iter()
        .filter(|(name, _)| *name != "timestamp")
        .find_map(|(name, value)| in_value(name, value))
}

/// Whether one of the spans around a line, if there are any, says which trace it belongs to.
fn has_trace(fields: &serde_json::Map<String, Value>) -> bool {
    let spans = fields.get("spans").and_then(Value::as_array);
    spans.is_none_or(|spans| {
        let mut traces = spans.iter().filter_map(|span| span["trace_id"].as_str());
        spans.is_empty() || traces.any(|trace| trace.len() == 32 && trace.contains(|c| c != '0'))
    })
}

fn in_value(name: &str, value: &Value) -> Option<&'static str> {
    let lower = name.to_lowercase();
    let is_secret = SECRET_FIELDS.iter().any(|part| lower.contains(part));
    if is_secret && !HARMLESS_FIELDS.contains(&lower.as_str()) {
        return Some("a field that is named like a secret");
    }
    match value {
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, value)| in_value(name, value)),
        Value::Array(values) => values.iter().find_map(|value| in_value(name, value)),
        Value::String(text) => in_text(text),
        // Ids and counts are numbers; phones and accounts never are, but by mistake.
        Value::Number(number) if !lower.ends_with("_id") => long_number(&number.to_string()),
        _ => None,
    }
}

fn in_text(text: &str) -> Option<&'static str> {
    if text.len() == OTP_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some("six digits, as a one-time password has");
    }
    let is_encoded =
        |character: char| character.is_ascii_alphanumeric() || "+/=_-".contains(character);
    let has_encoded = text
        .split(|character: char| !is_encoded(character))
        .any(|run| run.len() >= ENCODED_CHARS_MIN);
    if has_encoded {
        return Some("encoded bytes");
    }
    long_number(text)
}

/// A number that stands alone and is as long as those of phones and accounts.
fn long_number(text: &str) -> Option<&'static str> {
    let is_part_of_word =
        |character: char| character.is_ascii_alphanumeric() || "_-.:".contains(character);
    text.split(|character: char| !is_part_of_word(character))
        .map(|word| word.trim_matches(['.', ':', '-']))
        .any(|word| {
            LONG_NUMBER_DIGITS.contains(&word.len())
                && word.bytes().all(|byte| byte.is_ascii_digit())
        })
        .then_some("a number as long as a phone's or an account's")
}

/// A JSON Web Token: two parts of base64, the first of which begins with `{"`.
fn holds_token(text: &str) -> bool {
    text.match_indices("eyJ").any(|(at, _)| {
        let rest = &text[at..];
        let end = rest
            .find(|character: char| !character.is_ascii_alphanumeric() && !"_-".contains(character))
            .unwrap_or(rest.len());
        end > 10 && rest[end..].starts_with(".eyJ")
    })
}

/// The lines of a key's file that give the key away.
pub(crate) fn telling_lines(file: &str) -> impl Iterator<Item = &str> {
    file.lines()
        .map(str::trim)
        .filter(|line| line.len() >= KEY_LINE_CHARS_MIN && !line.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_service(fields: &str) -> Option<&'static str> {
        let line =
            format!(r#"{{"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO",{fields}}}"#);
        looked_at(line.as_bytes(), true, &["dev-secret".to_owned()])
    }

    #[test]
    fn what_a_service_should_log_passes() {
        for fields in [
            r#""message":"ready""#,
            r#""message":"otp sent","phone_ends_in":"10""#,
            r#""message":"request","status":200,"duration_ms":3,"spans":[{"trace_id":"0af7651916cd43dd8448eb211c80319c"}]"#,
            r#""message":"sample kept","verification_id":1234567890123,"user_id":7"#,
            r#""message":"late","request_id":"0190163d-8694-739b-aea5-966c26f8ad91","spans":[]"#,
            r#""error":"connection to 127.0.0.1:17432 refused (os error 111)""#,
        ] {
            assert_eq!(of_service(fields), None, "{fields}");
        }
        assert_eq!(
            looked_at(b"2026-01-01 00:00:00.000 UTC [123] LOG: ready", false, &[]),
            None
        );
    }

    #[test]
    fn what_no_log_may_hold_is_found() {
        for fields in [
            r#""message":"logged in as +919876543210""#,
            r#""message":"called","number":919876543210"#,
            r#""phone":"x""#,
            r#""message":"ok","body":{"account_number":"1"}"#,
            r#""message":"account 123456789 is kept""#,
            r#""message":"483920""#,
            r#""refresh_token":"1""#,
            r#""message":"token eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiI3In0.c2ln""#,
            r#""message":"GET http://s3/a?X-Amz-Signature=ab""#,
            r#""message":"connecting with dev-secret""#,
            r#""message":"RIFF""#,
            r#""message":"request","spans":[{"name":"http"}]"#,
            r#""message":"request","spans":[{"trace_id":"00000000000000000000000000000000"}]"#,
        ] {
            assert!(of_service(fields).is_some(), "{fields}");
        }
        let encoded = format!(r#""message":"{}""#, "gICA".repeat(60));
        assert!(of_service(&encoded).is_some());
        for line in [&b"not JSON"[..], b"{\"level\":\"INFO\"}", b"\x80\x80\x80"] {
            assert!(looked_at(line, true, &[]).is_some(), "{line:?}");
        }
        let detail = b"DETAIL:  Key (phone)=(+919876543210) already exists.";
        assert!(looked_at(detail, false, &[]).is_some());
    }

    #[test]
    fn only_the_telling_lines_of_a_key_are_looked_for() {
        let pem =
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIHAL\n-----END PRIVATE KEY-----\n";
        assert_eq!(
            telling_lines(pem).collect::<Vec<_>>(),
            ["MC4CAQAwBQYDK2VwBCIEIHAL"]
        );
    }
}
