//! Whether the hub answers at all.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::HubError;
use crate::http::{Ask, Client, Failure};
use crate::settings::HubSettings;

/// The longest wait for a connection, and for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An answer of the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Who answered: scheme, host, port.
    pub server: String,
    /// With which status.
    pub status: u16,
    /// After how many milliseconds.
    pub elapsed_ms: u64,
}

/// Asks the hub for the headers of its first page, once and without the token. Any answer shows that it is there: mirrors need have no such page.
///
/// # Errors
/// [`HubError::Http`] where nobody answers in time, or the server has trouble of its own (status 500 and above); what is wrong with the certificates
/// or the proxy that the environment names. The network is asked whatever `HF_HUB_OFFLINE` says: that is for the caller to look at.
pub fn reach(settings: &HubSettings) -> Result<Reached, HubError> {
    let mut settings = HubSettings { token: None, ..settings.clone() };
    let pace = &mut settings.transfer.pace;
    (pace.connect_timeout, pace.read_timeout, pace.attempts) = (TIMEOUT, TIMEOUT, 1);
    let client = Client::new(&settings)?;
    let start = Instant::now();
    let what = "an answer";
    let error = |host: String, problem: String| HubError::Http { what: what.to_owned(), host, problem, attempts: 1 };
    let reply = client.get(client.origin.address(), what, Ask::Headers).map_err(|failure| match failure {
        Failure::Final(error) => error,
        Failure::Again { host, problem, .. } => error(host, problem),
    })?;
    match reply.status {
        407 | 500.. => Err(error(reply.server, format!("it has trouble of its own (status {})", reply.status))),
        status => Ok(Reached { server: reply.server, status, elapsed_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX) }),
    }
}
