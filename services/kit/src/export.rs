//! Export of a user's own data. A service lists the sections of its schema, and [`UserExportApi`] serves them page by
//! page to the service that puts the export together.

use serde_json::Value;
use talktime_proto::export::v1::export_service_server::{self, ExportService, ExportServiceServer};
use talktime_proto::export::v1::{ExportUserRequest, ExportUserResponse};
use tonic::{Request, Response, Status};

use crate::db::DatabasePool;
use crate::error::{Error, ErrorKind};
use crate::grpc::server::refuse;

/// The name of the gRPC service, for the health of a service.
pub const SERVICE_NAME: &str = export_service_server::SERVICE_NAME;
/// Records in one page.
pub const RECORDS_PER_PAGE: i64 = 500;

/// One kind of data that a service keeps about a user.
#[derive(Clone, Copy, Debug)]
pub struct UserExportSection {
    /// Names the file in the export, such as `favorites`.
    pub name: &'static str,
    /// Selects a `bigint` key and a `jsonb` record for each row of user `$1` whose key exceeds `$2`, in the order of
    /// the keys, at most `$3` of them.
    pub query: &'static str,
}

/// A page of one section.
#[derive(Clone, Debug)]
pub struct UserExportPage {
    /// The name of the section.
    pub section: &'static str,
    /// JSON objects.
    pub records: Vec<Value>,
    /// The position of the next page; `None` after the last.
    pub next: Option<UserExportCursor>,
}

/// A position in the sections of a service: the index of a section, and the key after which to read on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UserExportCursor {
    section: usize,
    after_key: i64,
}

impl UserExportCursor {
    /// The position before all records.
    pub const START: Self = Self {
        section: 0,
        after_key: i64::MIN,
    };

    /// Parses the text of a request, in which nothing stands for the start.
    ///
    /// # Errors
    /// The text is none that [`Self::to_text`] has written.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Self::START);
        }
        let parts = text.split_once(':');
        let cursor = parts.and_then(|(section, after_key)| {
            Some(Self {
                section: section.parse().ok()?,
                after_key: after_key.parse().ok()?,
            })
        });
        cursor.ok_or_else(invalid_cursor)
    }

    /// Writes the position for the next request.
    pub fn to_text(self) -> String {
        format!("{}:{}", self.section, self.after_key)
    }
}

/// Loads the page at `cursor`. Each page is a transaction of its own, so an export does not hold a snapshot.
///
/// # Errors
/// There is no such section, or the database does not answer.
pub async fn load_page(
    db: &DatabasePool,
    sections: &[UserExportSection],
    user_id: i64,
    cursor: UserExportCursor,
) -> Result<UserExportPage, Error> {
    let section = sections.get(cursor.section).ok_or_else(invalid_cursor)?;
    let mut connection = db.acquire().await?;
    let rows: Vec<(i64, Value)> = sqlx::query_as(section.query)
        .bind(user_id)
        .bind(cursor.after_key)
        .bind(RECORDS_PER_PAGE)
        .fetch_all(&mut *connection)
        .await?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows == RECORDS_PER_PAGE);
    let next = match rows.last() {
        Some((key, _)) if is_full => Some(UserExportCursor {
            section: cursor.section,
            after_key: *key,
        }),
        _ => Some(UserExportCursor {
            section: cursor.section + 1,
            after_key: i64::MIN,
        }),
    };
    Ok(UserExportPage {
        section: section.name,
        records: rows.into_iter().map(|(_, record)| record).collect(),
        next: next.filter(|next| next.section < sections.len()),
    })
}

fn invalid_cursor() -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        "invalid_cursor",
        "The cursor is not that of an export.",
    )
}

/// The gRPC service, on top of the sections of a service.
pub struct UserExportApi {
    db: DatabasePool,
    sections: &'static [UserExportSection],
}

/// Returns the gRPC service of these sections, for the routes of a service.
pub fn export_service(
    db: DatabasePool,
    sections: &'static [UserExportSection],
) -> ExportServiceServer<UserExportApi> {
    ExportServiceServer::new(UserExportApi { db, sections })
}

#[tonic::async_trait]
impl ExportService for UserExportApi {
    async fn export_user(
        &self,
        request: Request<ExportUserRequest>,
    ) -> Result<Response<ExportUserResponse>, Status> {
        let request = request.into_inner();
        let cursor = UserExportCursor::parse(&request.cursor).map_err(refuse)?;
        let page = load_page(&self.db, self.sections, request.user_id, cursor).await;
        let page = page.map_err(refuse)?;
        Ok(Response::new(ExportUserResponse {
            section: page.section.to_owned(),
            records: page.records.iter().map(Value::to_string).collect(),
            next_cursor: page.next.map(UserExportCursor::to_text).unwrap_or_default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = UserExportCursor {
            section: 3,
            after_key: -7,
        };
        assert_eq!(
            UserExportCursor::parse(&cursor.to_text()).expect("a cursor"),
            cursor
        );
        assert_eq!(
            UserExportCursor::parse("").expect("the start"),
            UserExportCursor::START
        );
        for text in ["x", "1", "1:", ":1", "-1:1", "1:2:3"] {
            let error = UserExportCursor::parse(text).expect_err(text);
            assert_eq!(error.code(), "invalid_cursor");
        }
    }
}
