//! Play Integrity: verdicts of Google Play about an Android app and its device.
//!
//! The app makes a classic request, whose answer can be read without a request to Google once the operator manages the
//! response encryption keys in the Play Console: a signed verdict in an encrypted token. The answers to standard requests can
//! only be read by Google's servers, and are refused here like everything that these keys do not open.

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use jsonwebtoken::DecodingKey;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::Deserialize;

use super::{AttestationVerifier, jwe, verify_signed};
use crate::domain::{AttestationFailure, AttestationStatement};

/// Bytes of the decryption key.
const KEY_LEN: usize = 32;
/// The app is the one that Google Play distributes.
const RECOGNIZED: &str = "PLAY_RECOGNIZED";
/// The device passes the checks of system integrity.
const GENUINE: &str = "MEETS_DEVICE_INTEGRITY";

/// The app in the Play Console, and the keys of its verdicts.
#[derive(Clone, Debug, Deserialize)]
pub struct PlayIntegrityConfig {
    /// The application id, such as `com.example.talktime`.
    pub package_name: String,
    /// The SHA-256 digests of the certificates that the app may be signed with, in URL-safe base64 without padding.
    pub certificate_digests: Vec<String>,
    /// The decryption key of the console, in base64.
    pub decryption_key: SecretString,
    /// The verification key of the console, in base64.
    pub verification_key: String,
}

/// Reads verdicts, and requires that app and device are genuine.
pub(super) struct PlayIntegrityVerifier {
    package_name: String,
    certificate_digests: Vec<String>,
    decryption_key: SecretBox<[u8; KEY_LEN]>,
    verification_key: DecodingKey,
}

/// A verdict. Google leaves out what it could not evaluate.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IntegrityVerdict {
    request_details: VerdictRequest,
    #[serde(default)]
    app_integrity: AppIntegrity,
    #[serde(default)]
    device_integrity: DeviceIntegrity,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerdictRequest {
    request_package_name: String,
    nonce: String,
    timestamp_millis: VerdictTime,
}

/// Milliseconds since 1970, which Google writes as a number or as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum VerdictTime {
    Number(i64),
    Text(String),
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AppIntegrity {
    app_recognition_verdict: String,
    package_name: String,
    certificate_sha256_digest: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DeviceIntegrity {
    device_recognition_verdict: Vec<String>,
}

impl PlayIntegrityVerifier {
    pub(super) fn new(config: PlayIntegrityConfig) -> anyhow::Result<Self> {
        ensure!(
            !config.certificate_digests.is_empty(),
            "TALKTIME_AUTH__ATTESTATION__PLAY_INTEGRITY__CERTIFICATE_DIGESTS must name the certificate of the app"
        );
        Ok(Self {
            decryption_key: read_decryption_key(&config.decryption_key)?,
            verification_key: read_verification_key(&config.verification_key)?,
            package_name: config.package_name,
            certificate_digests: config.certificate_digests,
        })
    }

    fn check_app(&self, verdict: &IntegrityVerdict) -> Result<(), AttestationFailure> {
        let app = &verdict.app_integrity;
        let names = [
            &verdict.request_details.request_package_name,
            &app.package_name,
        ];
        let mut signers = app.certificate_sha256_digest.iter();
        let is_ours = app.app_recognition_verdict == RECOGNIZED
            && names.iter().all(|name| **name == self.package_name)
            && signers.any(|signer| self.certificate_digests.contains(signer));
        if is_ours {
            Ok(())
        } else {
            Err(AttestationFailure::OtherApp)
        }
    }
}

impl AttestationVerifier for PlayIntegrityVerifier {
    fn verify(&self, token: &str) -> Result<AttestationStatement, AttestationFailure> {
        let opened = jwe::decrypt(token, self.decryption_key.expose_secret());
        let opened = opened.ok_or(AttestationFailure::Forged)?;
        let opened = String::from_utf8(opened).map_err(|_| AttestationFailure::Malformed)?;
        let signed = verify_signed::<IntegrityVerdict>(&opened, &self.verification_key)?;
        let verdict = signed.claims;
        self.check_app(&verdict)?;
        let mut verdicts = verdict.device_integrity.device_recognition_verdict.iter();
        if !verdicts.any(|verdict| verdict == GENUINE) {
            return Err(AttestationFailure::OtherDevice);
        }
        let issued_at = verdict.request_details.timestamp_millis.to_datetime();
        Ok(AttestationStatement {
            nonce: verdict.request_details.nonce,
            issued_at: issued_at.ok_or(AttestationFailure::Malformed)?,
            fingerprint: signed.fingerprint,
        })
    }
}

impl VerdictTime {
    fn to_datetime(&self) -> Option<DateTime<Utc>> {
        let millis = match self {
            Self::Number(millis) => *millis,
            Self::Text(text) => text.parse().ok()?,
        };
        DateTime::from_timestamp_millis(millis)
    }
}

fn read_decryption_key(base64: &SecretString) -> anyhow::Result<SecretBox<[u8; KEY_LEN]>> {
    const VARIABLE: &str = "TALKTIME_AUTH__ATTESTATION__PLAY_INTEGRITY__DECRYPTION_KEY";
    // The source of an error would name a character of the key.
    let key = STANDARD.decode(base64.expose_secret().trim()).ok();
    let key = key.and_then(|key| <[u8; KEY_LEN]>::try_from(key).ok());
    let key = key.with_context(|| format!("{VARIABLE} must be {KEY_LEN} bytes in base64"))?;
    Ok(SecretBox::new(Box::new(key)))
}

/// Reads a public key from the base64 of its DER form, which is the content of a PEM file.
fn read_verification_key(base64: &str) -> anyhow::Result<DecodingKey> {
    const VARIABLE: &str = "TALKTIME_AUTH__ATTESTATION__PLAY_INTEGRITY__VERIFICATION_KEY";
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n");
    DecodingKey::from_ec_pem(pem.as_bytes()).context(VARIABLE)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
    use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{AttestedOperation, attestation_nonce};

    /// Keys, and a token that was made with them by joserfc, another implementation of JOSE.
    const EXAMPLE: &str = include_str!("play_integrity_example.json");
    const PACKAGE: &str = "com.example.talktime";
    const CERTIFICATE: &str = "6a6a1474b5cbbb2b1aa57e0bc3a1e8f2c4d6b8a0";
    const DECRYPTION_KEY: [u8; KEY_LEN] = [7; KEY_LEN];
    const CONTENT_KEY: [u8; KEY_LEN] = [9; KEY_LEN];
    const NONCE: [u8; NONCE_LEN] = [1; NONCE_LEN];
    const PARTS: usize = 5;

    fn example_verifier(example: &Value) -> PlayIntegrityVerifier {
        let text = |name: &str| example[name].as_str().expect("a text").to_owned();
        let config = PlayIntegrityConfig {
            package_name: PACKAGE.to_owned(),
            certificate_digests: vec![CERTIFICATE.to_owned()],
            decryption_key: text("decryption_key").into(),
            verification_key: text("verification_key"),
        };
        PlayIntegrityVerifier::new(config).expect("valid keys")
    }

    /// A console with keys of its own.
    struct TestConsole {
        signing_key: EncodingKey,
        verifier: PlayIntegrityVerifier,
    }

    impl TestConsole {
        fn new() -> Self {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("generated");
            let document = pair.to_pkcs8v1().expect("a document");
            Self {
                signing_key: EncodingKey::from_ec_der(document.as_ref()),
                verifier: PlayIntegrityVerifier {
                    package_name: PACKAGE.to_owned(),
                    certificate_digests: vec![CERTIFICATE.to_owned()],
                    decryption_key: SecretBox::new(Box::new(DECRYPTION_KEY)),
                    verification_key: DecodingKey::from_ec_der(pair.public_key().as_ref()),
                },
            }
        }

        fn sign(&self, verdict: &Value) -> String {
            let header = Header::new(Algorithm::ES256);
            encode(&header, verdict, &self.signing_key).expect("signed")
        }

        fn verify(&self, verdict: &Value) -> Result<AttestationStatement, AttestationFailure> {
            self.verifier.verify(&encrypt(&self.sign(verdict)))
        }
    }

    fn encrypt(content: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"A256KW","enc":"A256GCM"}"#);
        let mut wrapped = [0; KEY_LEN + 8];
        let wrapping = AesKek::new(&AES_256, &DECRYPTION_KEY).expect("a key");
        wrapping
            .wrap(&CONTENT_KEY, &mut wrapped)
            .expect("long enough");
        let key = UnboundKey::new(&AES_256_GCM, &CONTENT_KEY).expect("a key");
        let mut content = content.as_bytes().to_vec();
        LessSafeKey::new(key)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(NONCE),
                Aad::from(header.as_bytes()),
                &mut content,
            )
            .expect("sealed");
        let tag = content.split_off(content.len() - 16);
        let parts = [wrapped.as_slice(), &NONCE, &content, &tag];
        let parts = parts.map(|part| URL_SAFE_NO_PAD.encode(part));
        [&[header], parts.as_slice()].concat().join(".")
    }

    fn genuine_verdict() -> Value {
        json!({
            "requestDetails": {
                "requestPackageName": PACKAGE, "nonce": "bm9uY2U", "timestampMillis": 1_750_000_000_000_i64,
            },
            "appIntegrity": {
                "appRecognitionVerdict": RECOGNIZED, "packageName": PACKAGE,
                "certificateSha256Digest": [CERTIFICATE], "versionCode": "42",
            },
            "deviceIntegrity": {"deviceRecognitionVerdict": [GENUINE]},
        })
    }

    #[test]
    fn a_token_of_another_implementation_is_read() {
        let example: Value = serde_json::from_str(EXAMPLE).expect("JSON");
        let token = example["token"].as_str().expect("a text");
        let statement = example_verifier(&example).verify(token).expect("valid");
        let nonce = attestation_nonce(AttestedOperation::RequestOtp, "+919812345678");
        assert_eq!(statement.nonce, nonce);
        assert_eq!(statement.issued_at.timestamp(), 1_750_000_000);
    }

    #[test]
    fn an_altered_token_is_forged() {
        let example: Value = serde_json::from_str(EXAMPLE).expect("JSON");
        let verifier = example_verifier(&example);
        let token = example["token"].as_str().expect("a text");
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts.len(), PARTS);
        for altered in 0..PARTS {
            let mut parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
            let other = if parts[altered].starts_with('A') {
                "B"
            } else {
                "A"
            };
            parts[altered].replace_range(..1, other);
            let refused = verifier.verify(&parts.join("."));
            assert_eq!(refused.err(), Some(AttestationFailure::Forged), "{altered}");
        }
        for token in ["", "....", &parts[..4].join("."), &format!("{token}.")] {
            let refused = verifier.verify(token).err();
            assert_eq!(refused, Some(AttestationFailure::Forged), "{token}");
        }
    }

    #[test]
    fn a_verdict_is_signed_by_the_console_and_encrypted_for_it() {
        let (console, other) = (TestConsole::new(), TestConsole::new());
        let verdict = genuine_verdict();
        assert!(console.verify(&verdict).is_ok());
        for token in [encrypt(&other.sign(&verdict)), console.sign(&verdict)] {
            let refused = console.verifier.verify(&token).err();
            assert_eq!(refused, Some(AttestationFailure::Forged));
        }
    }

    #[test]
    fn app_and_device_must_be_genuine() {
        let console = TestConsole::new();
        for (place, value, failure) in [
            (
                "/appIntegrity/appRecognitionVerdict",
                json!("UNRECOGNIZED_VERSION"),
                AttestationFailure::OtherApp,
            ),
            (
                "/appIntegrity/packageName",
                json!("com.example.copy"),
                AttestationFailure::OtherApp,
            ),
            (
                "/requestDetails/requestPackageName",
                json!("com.example.copy"),
                AttestationFailure::OtherApp,
            ),
            (
                "/appIntegrity/certificateSha256Digest",
                json!(["other"]),
                AttestationFailure::OtherApp,
            ),
            // Google leaves out what it could not evaluate.
            (
                "/appIntegrity",
                json!({"appRecognitionVerdict": "UNEVALUATED"}),
                AttestationFailure::OtherApp,
            ),
            (
                "/deviceIntegrity",
                json!({}),
                AttestationFailure::OtherDevice,
            ),
            (
                "/deviceIntegrity/deviceRecognitionVerdict",
                json!(["MEETS_BASIC_INTEGRITY"]),
                AttestationFailure::OtherDevice,
            ),
            (
                "/requestDetails/timestampMillis",
                json!("soon"),
                AttestationFailure::Malformed,
            ),
            ("/requestDetails", json!({}), AttestationFailure::Malformed),
        ] {
            let mut verdict = genuine_verdict();
            *verdict.pointer_mut(place).expect("it is there") = value;
            let refused = console.verify(&verdict).err();
            assert_eq!(refused, Some(failure), "{place}");
        }
    }
}
