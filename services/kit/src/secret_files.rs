//! Settings from files, one for each, as Kubernetes mounts a Secret: what is in a file is neither in the environment of the
//! process, which its children inherit, nor in the description of its pod.

use std::path::{Path, PathBuf};

use anyhow::Context;
use figment::Figment;
use figment::providers::Serialized;
use figment::value::Value;

/// Adds the settings of all folders that exist. They replace what was set before, and those of an earlier folder.
///
/// # Errors
/// A file cannot be read, or is no text.
pub(crate) fn merge_folders(mut settings: Figment, folders: &[PathBuf]) -> anyhow::Result<Figment> {
    for folder in folders.iter().filter(|folder| folder.exists()) {
        let merged = merge_folder(settings, folder);
        settings = merged.with_context(|| folder.display().to_string())?;
    }
    Ok(settings)
}

fn merge_folder(mut settings: Figment, folder: &Path) -> anyhow::Result<Figment> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Kubernetes keeps the content of a volume in folders of such names, and links to it.
        if name.starts_with('.') {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).context(name.clone())?;
        // The same words mean the same as in the environment.
        let Ok(value) = text.trim_end_matches('\n').parse::<Value>();
        let key = name.to_lowercase().replace("__", ".");
        settings = settings.merge(Serialized::default(&key, value));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use figment::providers::{Format, Toml};

    use super::*;

    fn read(folders: &[PathBuf]) -> Figment {
        merge_folders(Figment::new(), folders).expect("readable")
    }

    fn text(figment: &Figment, key: &str) -> String {
        figment.extract_inner(key).expect("a text")
    }

    #[test]
    fn each_file_is_a_setting() {
        let folder = tempfile::tempdir().expect("a folder");
        // As Kubernetes mounts a Secret: the files are links into a folder that is replaced as a whole.
        let version = folder.path().join("..2026_01_31");
        fs::create_dir(&version).expect("created");
        for (name, content) in [
            ("DATABASE__APP_URL", "postgres://a:b@db/t\n"),
            ("KEY_ID", "\"1\""),
            ("KEYS", "[one, two]"),
        ] {
            fs::write(version.join(name), content).expect("written");
            symlink(version.join(name), folder.path().join(name)).expect("linked");
        }
        let settings = read(&[folder.path().to_owned()]);
        assert_eq!(text(&settings, "database.app_url"), "postgres://a:b@db/t");
        assert_eq!(text(&settings, "key_id"), "1");
        let keys: Vec<String> = settings.extract_inner("keys").expect("a list");
        assert_eq!(keys, ["one", "two"]);
    }

    #[test]
    fn a_later_folder_replaces_values_and_a_missing_one_has_none() {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        for (folder, content) in folders.iter().zip(["first", "second"]) {
            fs::write(folder.path().join("NATS__PASSWORD"), content).expect("written");
        }
        let [first, second] = folders.each_ref().map(|folder| folder.path().to_owned());
        let missing = second.join("missing");
        let settings = read(&[first, missing, second]);
        assert_eq!(text(&settings, "nats.password"), "second");
    }

    #[test]
    fn a_file_wins_over_what_is_set_before_and_not_over_what_is_set_after() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("NATS__PASSWORD"), "file").expect("written");
        let other = Figment::from(Toml::string("[nats]\npassword = \"other\"\nurl = \"nats\""));
        let folders = [folder.path().to_owned()];
        let settings = merge_folders(other.clone(), &folders).expect("readable");
        assert_eq!(text(&settings, "nats.password"), "file");
        assert_eq!(text(&settings, "nats.url"), "nats");
        assert_eq!(text(&settings.merge(other), "nats.password"), "other");
    }

    #[test]
    fn a_file_that_is_no_text_is_named_and_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("SEALING_KEY"), [0xff, b'k']).expect("written");
        let Err(error) = merge_folders(Figment::new(), &[folder.path().to_owned()]) else {
            panic!("it is no text");
        };
        let message = format!("{error:#}");
        assert!(message.contains("SEALING_KEY"), "{message}");
    }
}
