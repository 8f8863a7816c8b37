//! Searches everything that a stack has logged for secrets and personal data, after all tests have run.
//!
//! Secrets are found by their value if the runner knows it, or else by their form: tokens, signed addresses,
//! phone and account numbers, one-time passwords, bytes of audio. Lines of Talktime's own processes must also
//! be JSON, and contain the trace if they belong to a request.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::instance;
use crate::secrets;
use crate::stack::DevStack;

/// Greatest number of findings that are printed; one is enough to fail.
const SHOWN_MAX: usize = 20;
/// Longer lines contain something that is not meant for readers.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Numbers of digits of phone numbers (E.164) and bank accounts (9 to 18).
const LONG_NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 9..=18;
const OTP_DIGITS: usize = 6;
/// Longer words are ids or encoded data, and are not printed.
const READABLE_CHARS_MAX: usize = 24;
const REDACTED_CHARS_MAX: usize = 160;
/// A run of this many letters and digits is encoded data.
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
/// Fields whose names resemble secrets although they contain none.
const HARMLESS_FIELDS: [&str; 1] = ["phone_ends_in"];
/// Words that occur only in audio, in signed addresses and in key files, with the name of their finding.
const FORBIDDEN_WORDS: [(&str, &str); 5] = [
    ("RIFF", "audio"),
    ("ftypM4A", "audio"),
    ("X-Amz-Signature", "a signed address"),
    ("X-Amz-Credential", "a signed address"),
    ("-----BEGIN", "a key"),
];

/// Forbidden content of a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogFinding {
    place: String,
    problem: &'static str,
    /// Beginning of the line, without readable secrets.
    redacted: String,
}

/// The outcome of a search of all logs.
pub(crate) struct LogAudit {
    pub(crate) report: String,
    pub(crate) has_passed: bool,
}

/// Searches all logs.
pub(crate) fn audit_logs(stack: &DevStack) -> Result<LogAudit> {
    let (lines, findings) = scan_logs(stack)?;
    let has_passed = findings.is_empty() && lines > 0;
    let verdict = if has_passed { "ok" } else { "FAILED" };
    let mut report = vec![format!(
        "\ntest logs::hold_no_secrets_and_are_json ... {verdict}"
    )];
    let shown = findings.iter().take(SHOWN_MAX);
    report.extend(shown.map(|finding| {
        let LogFinding {
            place,
            problem,
            redacted,
        } = finding;
        format!("  {place}: {problem}: {redacted}")
    }));
    let found = findings.len();
    report.push(format!("  {lines} lines searched, {found} findings"));
    Ok(LogAudit {
        report: report.join("\n"),
        has_passed,
    })
}

/// Returns the number of lines, and the findings.
fn scan_logs(stack: &DevStack) -> Result<(usize, Vec<LogFinding>)> {
    let known = secrets::list_known_secrets(stack)?;
    let mut lines = 0;
    let mut findings = Vec::new();
    for instance in instance::all_instances() {
        let path = stack.log_file(&instance.name());
        let Some(log) = read_log(&path)? else {
            continue;
        };
        for (number, line) in log.split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            lines += 1;
            let place = format!("{}:{}", path.display(), number + 1);
            let is_ours = !instance.unit.is_part();
            findings.extend(
                find_problem(line, is_ours, &known).map(|problem| LogFinding {
                    place,
                    problem,
                    redacted: redact_line(line),
                }),
            );
        }
    }
    Ok((lines, findings))
}

fn read_log(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(log) => Ok(Some(log)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Returns the first words of a line, with digits and possibly encoded words replaced.
fn redact_line(line: &[u8]) -> String {
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
        .take(REDACTED_CHARS_MAX)
        .collect()
}

/// Returns the first problem of a line.
fn find_problem(line: &[u8], is_ours: bool, known: &[String]) -> Option<&'static str> {
    let Ok(text) = std::str::from_utf8(line) else {
        return Some("bytes that are not text");
    };
    if text.len() > LINE_BYTES_MAX {
        return Some("a line of excessive length");
    }
    if known.iter().any(|secret| text.contains(secret.as_str())) {
        return Some("a secret of this stack");
    }
    let word = FORBIDDEN_WORDS.iter().find(|(word, _)| text.contains(word));
    if let Some((_, problem)) = word {
        return Some(problem);
    }
    if contains_token(text) {
        return Some("a token");
    }
    if is_ours {
        check_service_line(text)
    } else {
        check_part_line(text)
    }
}

/// Checks a line of a part for numbers. The session ids of coturn have as many digits as a bank account.
fn check_part_line(text: &str) -> Option<&'static str> {
    const SESSION: [&str; 2] = [": Session ", ": session "];
    const SESSION_ID_DIGITS: usize = 18;
    let mut split = SESSION.iter().filter_map(|label| text.split_once(label));
    let Some((before, after)) = split.next() else {
        return find_long_number(text);
    };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let rest = if digits == SESSION_ID_DIGITS {
        &after[digits..]
    } else {
        after
    };
    find_long_number(before).or_else(|| find_long_number(rest))
}

/// Checks a line of a process of Talktime, which must be JSON, and each of its values.
fn check_service_line(text: &str) -> Option<&'static str> {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        return Some("a line that is not a JSON object");
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
        .find_map(|(name, value)| check_value(name, value))
}

/// Whether one of the spans of a line, if there are any, names its trace.
fn has_trace(fields: &serde_json::Map<String, Value>) -> bool {
    let spans = fields.get("spans").and_then(Value::as_array);
    spans.is_none_or(|spans| {
        let mut traces = spans.iter().filter_map(|span| span["trace_id"].as_str());
        spans.is_empty() || traces.any(|trace| trace.len() == 32 && trace.contains(|c| c != '0'))
    })
}

fn check_value(name: &str, value: &Value) -> Option<&'static str> {
    let lower = name.to_lowercase();
    let is_secret = SECRET_FIELDS.iter().any(|part| lower.contains(part));
    if is_secret && !HARMLESS_FIELDS.contains(&lower.as_str()) {
        return Some("a field with the name of a secret");
    }
    match value {
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, value)| check_value(name, value)),
        Value::Array(values) => values.iter().find_map(|value| check_value(name, value)),
        Value::String(text) => check_text(text),
        // Ids and counts are numbers; phones and accounts are numbers only by mistake.
        Value::Number(number) if !lower.ends_with("_id") => find_long_number(&number.to_string()),
        _ => None,
    }
}

fn check_text(text: &str) -> Option<&'static str> {
    if text.len() == OTP_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some("six digits, like a one-time password");
    }
    let is_encoded =
        |character: char| character.is_ascii_alphanumeric() || "+/=_-".contains(character);
    let has_encoded = text
        .split(|character: char| !is_encoded(character))
        .any(|run| run.len() >= ENCODED_CHARS_MIN);
    if has_encoded {
        return Some("encoded data");
    }
    find_long_number(text)
}

/// Finds a number with as many digits as those of phones and accounts.
fn find_long_number(text: &str) -> Option<&'static str> {
    let is_part_of_word =
        |character: char| character.is_ascii_alphanumeric() || "_-.:".contains(character);
    text.split(|character: char| !is_part_of_word(character))
        .map(|word| word.trim_matches(['.', ':', '-']))
        .any(|word| {
            LONG_NUMBER_DIGITS.contains(&word.len())
                && word.bytes().all(|byte| byte.is_ascii_digit())
        })
        .then_some("a number as long as that of a phone or an account")
}

/// Whether the text contains a JSON Web Token: two parts of base64, the first of which begins with `{"`.
fn contains_token(text: &str) -> bool {
    text.match_indices("eyJ").any(|(at, _)| {
        let rest = &text[at..];
        let end = rest
            .find(|character: char| !character.is_ascii_alphanumeric() && !"_-".contains(character))
            .unwrap_or(rest.len());
        end > 10 && rest[end..].starts_with(".eyJ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line is of a process of Talktime.
    const OURS: bool = true;
    /// The line is of other software.
    const FOREIGN: bool = false;

    fn check_fields(fields: &str) -> Option<&'static str> {
        let line =
            format!(r#"{{"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO",{fields}}}"#);
        find_problem(line.as_bytes(), OURS, &["dev-secret".to_owned()])
    }

    #[test]
    fn permitted_content_passes() {
        for fields in [
            r#""message":"ready""#,
            r#""message":"otp sent","phone_ends_in":"10""#,
            r#""message":"request","status":200,"duration_ms":3,"spans":[{"trace_id":"0af7651916cd43dd8448eb211c80319c"}]"#,
            r#""message":"sample kept","verification_id":1234567890123,"user_id":7"#,
            r#""message":"late","request_id":"0190163d-8694-739b-aea5-966c26f8ad91","spans":[]"#,
            r#""error":"connection to 127.0.0.1:17432 refused (os error 111)""#,
        ] {
            assert_eq!(check_fields(fields), None, "{fields}");
        }
        assert_eq!(
            find_problem(
                b"2026-01-01 00:00:00.000 UTC [123] LOG: ready",
                FOREIGN,
                &[]
            ),
            None
        );
    }

    #[test]
    fn forbidden_content_is_found() {
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
            assert!(check_fields(fields).is_some(), "{fields}");
        }
        let encoded = format!(r#""message":"{}""#, "gICA".repeat(60));
        assert!(check_fields(&encoded).is_some());
        for line in [&b"not JSON"[..], b"{\"level\":\"INFO\"}", b"\x80\x80\x80"] {
            assert!(find_problem(line, OURS, &[]).is_some(), "{line:?}");
        }
        let detail = b"DETAIL:  Key (phone)=(+919876543210) already exists.";
        assert!(find_problem(detail, FOREIGN, &[]).is_some());
    }

    #[test]
    fn session_ids_of_the_relay_are_no_account_numbers() {
        let line = "9: : Session 001000000000000002 to be forcefully canceled";
        assert_eq!(check_part_line(line), None);
        let error = "9: : ERROR: session 001000000000000002: TCP socket error";
        assert_eq!(check_part_line(error), None);
        assert!(check_part_line("9: : Session 9876543210 to be").is_some());
        assert!(check_part_line("9: : user 001000000000000002").is_some());
        assert!(check_part_line(&format!("{line} 9876543210")).is_some());
    }
}
