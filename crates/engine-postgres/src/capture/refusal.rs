//! What a server says when it refuses.

use super::endpoint::Endpoint;
use super::error::CaptureError;
use postgres_protocol::message::backend::{ErrorFields, ErrorResponseBody, NoticeResponseBody};
use tokio_postgres::fallible_iterator::FallibleIterator;

/// The code of what isn't there: a slot, a publication.
const UNDEFINED_OBJECT: &str = "42704";

/// An error as the server tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The SQLSTATE.
    pub(super) code: String,
    /// What and, where the server says so, why.
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn of(body: &ErrorResponseBody) -> Self {
        Self::read(body.fields())
    }

    /// What a notice means in the stream. From version 18 on the server only warns where a publication
    /// is missing, and goes on without what it would have published: for us that is the end.
    pub(super) fn of_notice(body: &NoticeResponseBody) -> Option<Self> {
        const SKIPPED_PUBLICATION: &str = "55000";
        let notice = Self::read(body.fields());
        (notice.code == SKIPPED_PUBLICATION).then_some(Self {
            code: UNDEFINED_OBJECT.to_owned(),
            ..notice
        })
    }

    fn read(mut fields: ErrorFields<'_>) -> Self {
        let mut refusal = Self::default();
        let mut detail = None;
        // The text may be in another encoding as long as the session isn't open.
        while let Ok(Some(field)) = fields.next() {
            let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => refusal.code = value(),
                b'M' => refusal.reason = value(),
                b'D' => detail = Some(value()),
                _ => {}
            }
        }
        if let Some(detail) = detail {
            refusal.reason = format!("{} ({detail})", refusal.reason);
        }
        refusal
    }

    /// The number at the end of the server's words, as in `… is active for PID 4711`, in whatever
    /// language they are.
    pub(super) fn number(&self) -> Option<u32> {
        self.reason
            .split(|letter: char| !letter.is_ascii_digit())
            .rfind(|digits| !digits.is_empty())?
            .parse()
            .ok()
    }

    /// What it means whatever was asked for.
    pub(super) fn into_error(self, action: &'static str, endpoint: &Endpoint) -> CaptureError {
        let Self { code, reason } = self;
        match code.as_str() {
            "28P01" | "28000" => CaptureError::Authentication {
                user: endpoint.target.user.clone(),
                reason,
            },
            "3D000" => CaptureError::NoDatabase {
                database: endpoint.target.database.clone(),
            },
            "42501" => CaptureError::NotPermitted {
                user: endpoint.target.user.clone(),
                reason,
            },
            "57P01" | "57P02" | "57P03" => CaptureError::ShuttingDown { reason },
            _ => CaptureError::Refused {
                action,
                code,
                reason,
            },
        }
    }

    /// What it means when the slot's stream was asked for.
    pub(super) fn into_start_error(self, slot: &str, endpoint: &Endpoint) -> CaptureError {
        let slot = slot.to_owned();
        match self.code.as_str() {
            UNDEFINED_OBJECT => CaptureError::SlotMissing { slot },
            "55006" => CaptureError::SlotInUse {
                slot,
                process: self.number(),
            },
            "55000" | "58P01" => CaptureError::SlotLost {
                slot,
                reason: self.reason,
            },
            _ => self.into_error("start the replication stream", endpoint),
        }
    }

    /// What it means while the stream flows.
    pub(super) fn into_stream_error(
        self,
        slot: &str,
        publication: &str,
        endpoint: &Endpoint,
    ) -> CaptureError {
        match self.code.as_str() {
            UNDEFINED_OBJECT => CaptureError::PublicationMissing {
                publication: publication.to_owned(),
            },
            "58P01" => CaptureError::SlotLost {
                slot: slot.to_owned(),
                reason: self.reason,
            },
            _ => self.into_error("go on with the replication stream", endpoint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_the_last_number_in_whatever_language() {
        let number = |reason: &str| {
            let reason = reason.to_owned();
            Refusal {
                code: "55006".to_owned(),
                reason,
            }
            .number()
        };
        assert_eq!(
            number("replication slot \"s2\" is active for PID 4711"),
            Some(4711)
        );
        assert_eq!(
            number("Replikations-Slot »s« ist aktiv für PID 12."),
            Some(12)
        );
        assert_eq!(number("no"), None);
    }
}
