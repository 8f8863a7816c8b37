//! Tickets that open sockets.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::Json;
use crate::problem::Result;
use crate::token::CurrentUser;
use crate::ws::{SocketTickets, TICKET_LIFETIME_SECS};

#[derive(Serialize, ToSchema)]
pub(super) struct SocketTicketAnswer {
    /// For `?ticket=` in the address of a socket.
    ticket: String,
    /// The seconds for which it is valid.
    #[schema(example = 30)]
    expires_in_secs: u32,
}

/// Create a ticket that opens a socket.
///
/// It opens one socket within 30 seconds, in place of a token in the address. The socket ends with the access token of
/// this request.
#[utoipa::path(
    post,
    path = "/ws/ticket",
    tag = "auth",
    security(("access_token" = [])),
    responses((status = 200, body = SocketTicketAnswer))
)]
pub(super) async fn create_socket_ticket(
    State(tickets): State<SocketTickets>,
    current_user: CurrentUser,
) -> Result<Json<SocketTicketAnswer>> {
    Ok(Json(SocketTicketAnswer {
        ticket: tickets.issue(&current_user).await?,
        expires_in_secs: TICKET_LIFETIME_SECS,
    }))
}
