//! The archive of an export: a ZIP with one JSON file for each section.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;

use anyhow::ensure;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Records of all sections together, bytes of JSON.
const BYTES_MAX: usize = 256 * 1024 * 1024;
const README: &str = "Your data in Talktime, one file for each kind of data. Each file is a list of records in JSON \
    (RFC 8259), times are in UTC. Other people appear by their ids alone. Bank details are not included; the app shows \
    them.\n";

/// Writes an archive to a file without a name.
pub(super) struct ExportArchiveWriter {
    /// Boxed, since it is large and moves between threads.
    zip: Box<ZipWriter<File>>,
    /// The section that is being written.
    section: Option<String>,
    has_records: bool,
    bytes: usize,
}

/// A complete archive.
pub(super) struct WrittenExportArchive {
    pub(super) file: File,
    pub(super) length_bytes: u64,
}

impl ExportArchiveWriter {
    /// Begins an archive in `dir`.
    pub(super) fn begin(dir: &Path) -> anyhow::Result<Self> {
        let mut zip = Box::new(ZipWriter::new(tempfile::tempfile_in(dir)?));
        zip.start_file("README.txt", SimpleFileOptions::default())?;
        zip.write_all(README.as_bytes())?;
        Ok(Self {
            zip,
            section: None,
            has_records: false,
            bytes: 0,
        })
    }

    /// Appends records to a section. The records of a section are appended one after the other.
    pub(super) fn append(&mut self, section: &str, records: &[String]) -> anyhow::Result<()> {
        if self.section.as_deref() != Some(section) {
            self.end_section()?;
            let name = format!("{section}.json");
            self.zip.start_file(name, SimpleFileOptions::default())?;
            self.zip.write_all(b"[")?;
            self.section = Some(section.to_owned());
            self.has_records = false;
        }
        for record in records {
            self.bytes += record.len();
            ensure!(self.bytes <= BYTES_MAX, "the export has too many records");
            let separator = if self.has_records { ",\n" } else { "\n" };
            self.zip.write_all(separator.as_bytes())?;
            self.zip.write_all(record.as_bytes())?;
            self.has_records = true;
        }
        Ok(())
    }

    fn end_section(&mut self) -> anyhow::Result<()> {
        if self.section.take().is_some() {
            self.zip.write_all(b"\n]\n")?;
        }
        Ok(())
    }

    /// Completes the archive and rewinds it.
    pub(super) fn finish(mut self) -> anyhow::Result<WrittenExportArchive> {
        self.end_section()?;
        let mut file = self.zip.finish()?;
        let length_bytes = file.metadata()?.len();
        file.rewind()?;
        Ok(WrittenExportArchive { file, length_bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::Value;
    use zip::ZipArchive;

    use super::*;

    #[test]
    fn each_section_is_a_list_in_a_file_of_its_own() {
        let mut writer = ExportArchiveWriter::begin(&std::env::temp_dir()).expect("begun");
        let record = |id: i64| serde_json::json!({"id": id}).to_string();
        writer
            .append("profile/favorites", &[record(1), record(2)])
            .expect("written");
        writer
            .append("profile/favorites", &[record(3)])
            .expect("written");
        writer.append("profile/blocks", &[]).expect("written");
        let written = writer.finish().expect("complete");
        let mut archive = ZipArchive::new(written.file).expect("an archive");
        let mut read = |name: &str| {
            let mut text = String::new();
            let mut file = archive.by_name(name).expect(name);
            file.read_to_string(&mut text).expect("text");
            serde_json::from_str::<Value>(&text).expect("JSON")
        };
        let favorites = read("profile/favorites.json");
        assert_eq!(
            favorites,
            serde_json::json!([{"id": 1}, {"id": 2}, {"id": 3}])
        );
        assert_eq!(read("profile/blocks.json"), serde_json::json!([]));
    }
}
