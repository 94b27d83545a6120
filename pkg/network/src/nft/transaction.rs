//! Sending a batch.

use std::io;

use super::batch::Batch;
use super::constants as c;
use crate::netlink::{Messages, Socket};

/// The kernel did not make a batch of changes. It made none of them.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The socket failed.
    #[error("talking to nf_tables")]
    Socket(#[source] io::Error),
    /// A change was refused.
    #[error("{change} was refused")]
    Refused {
        /// The first refused change.
        change: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The kernel did not say whether it made the changes.
    #[error("nf_tables did not answer")]
    Unanswered,
}

/// The door to nf_tables in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct NftSocket {
    socket: Socket,
}

impl NftSocket {
    /// Opens the door.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: Socket::open(libc::NETLINK_NETFILTER)?,
        })
    }

    /// Makes all changes of the batch, or none.
    pub fn commit(&mut self, mut batch: Batch) -> Result<(), NftError> {
        if batch.is_empty() {
            return Ok(());
        }
        let last = batch.finish();
        let sent = self.socket.send(batch.messages.bytes());
        let mut done = false;
        let mut refused = None;
        // The kernel has worked through the batch when send returns; only the last change asks for an
        // answer, failures always answer.
        let drained = self.socket.drain(|sequence, failure| match failure {
            Some(failure) => {
                refused.get_or_insert(failure);
            }
            None => done |= sequence == last,
        });
        if let Some(failure) = refused {
            return Err(NftError::Refused {
                change: batch.describe(failure.sequence),
                source: failure.error(),
            });
        }
        sent.and(drained).map_err(NftError::Socket)?;
        if done { Ok(()) } else { Err(NftError::Unanswered) }
    }

    /// The socket, for netfilter's other messages.
    pub(crate) fn netlink(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Is there a table of this name?
    pub fn has_table(&mut self, name: &str) -> Result<bool, NftError> {
        let mut messages = Messages::new();
        messages.push(c::GET_TABLE, 0, |m| {
            m.body(&[libc::AF_INET as u8, 0, 0, 0]);
            m.text(c::TABLE_NAME, name);
        });
        match self
            .socket
            .query(&mut messages, |_| {})
            .map_err(NftError::Socket)?
        {
            Ok(_) => Ok(true),
            Err(failure) if failure.errno == libc::ENOENT => Ok(false),
            Err(failure) => Err(NftError::Refused {
                change: "looking for the table".into(),
                source: failure.error(),
            }),
        }
    }
}
