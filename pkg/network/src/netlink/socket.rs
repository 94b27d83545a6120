//! The socket. It belongs to the network namespace of the thread that opened it, for ever; it may be
//! used from any thread.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::message::{HEADER, Messages, attributes};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLM_F_CAPPED: u16 = 0x100;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// The kernel's replies come in pieces of at most this many bytes (of dumps: 32 KiB).
const RECEIVE_BUFFER: usize = 64 * 1024;

/// A message the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Which of the sent messages.
    pub sequence: u32,
    /// The error number (positive).
    pub errno: i32,
    /// The kernel's own words, when it has any.
    pub hint: Option<String>,
}

impl Failure {
    /// The failure as an I/O error, with the kernel's words.
    pub(crate) fn error(&self) -> io::Error {
        let plain = io::Error::from_raw_os_error(self.errno);
        match &self.hint {
            Some(hint) => io::Error::new(plain.kind(), format!("{plain}: {hint}")),
            None => plain,
        }
    }
}

/// A blocking netlink socket.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    send_buffer: usize,
}

impl Socket {
    /// Opens a socket of a netlink protocol (NETLINK_ROUTE, NETLINK_NETFILTER) in the calling thread's
    /// network namespace.
    pub(crate) fn open(protocol: i32) -> io::Result<Self> {
        // SAFETY: plain socket(2); the result is checked before it becomes an owned descriptor.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: fd was just returned by socket(2) and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let socket = Self {
            fd,
            send_buffer: 200 * 1024,
        };
        // Acknowledgements without the request repeated, with the kernel's reason in words.
        socket.set(libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1)?;
        socket.set(libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1)?;
        Ok(socket)
    }

    fn set(&self, level: i32, option: i32, value: i32) -> io::Result<()> {
        // SAFETY: the pointer and the length describe `value`, which outlives the call.
        let result = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Sends requests and returns those that failed, in order. The kernel works through all of them
    /// within the call, also when one fails.
    pub(crate) fn execute(&mut self, messages: &mut Messages) -> io::Result<Vec<Failure>> {
        messages.acknowledge_all();
        let last = messages.count();
        self.send(messages.bytes())?;
        let mut failures = Vec::new();
        let mut acknowledged = 0;
        while acknowledged < last {
            self.receive(true, |message| {
                if let Received::Acknowledgement { sequence, failure } = message {
                    acknowledged = acknowledged.max(sequence);
                    failures.extend(failure);
                }
            })?;
        }
        Ok(failures)
    }

    /// Sends one request and shows `each` what follows the header of every message the kernel tells,
    /// until its end.
    pub(crate) fn query(
        &mut self,
        messages: &mut Messages,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<Result<(), Failure>> {
        messages.acknowledge_all();
        self.send(messages.bytes())?;
        let mut failed = None;
        let mut done = false;
        while !done {
            self.receive(true, |message| match message {
                Received::Acknowledgement { failure, .. } => {
                    failed = failure;
                    done = true;
                }
                Received::Done => done = true,
                Received::Other(body) => each(body),
            })?;
        }
        Ok(failed.map_or(Ok(()), Err))
    }

    /// Sends bytes that the kernel works through within the call.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reserve(bytes.len())?;
        // SAFETY: the pointer and the length describe `bytes`, which outlives the call.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// A message larger than the send buffer is refused by the kernel (EMSGSIZE), whatever
    /// net.core.wmem_max is: CAP_NET_ADMIN may force a larger one.
    fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        let wanted = bytes + 4096;
        if wanted > self.send_buffer {
            let size = wanted.next_power_of_two().max(1 << 20);
            self.set(
                libc::SOL_SOCKET,
                libc::SO_SNDBUFFORCE,
                i32::try_from(size).unwrap_or(i32::MAX),
            )?;
            self.send_buffer = size;
        }
        Ok(())
    }

    /// Takes what the kernel already answered, without waiting.
    pub(crate) fn drain(
        &mut self,
        mut on_acknowledgement: impl FnMut(u32, Option<Failure>),
    ) -> io::Result<()> {
        loop {
            let received = self.receive(false, |message| {
                if let Received::Acknowledgement { sequence, failure } = message {
                    on_acknowledgement(sequence, failure);
                }
            });
            match received {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self, wait: bool, mut each: impl FnMut(Received<'_>)) -> io::Result<()> {
        let mut buffer = vec![0u8; RECEIVE_BUFFER];
        let flags = if wait { 0 } else { libc::MSG_DONTWAIT };
        let length = loop {
            // SAFETY: the pointer and the length describe `buffer`, which outlives the call.
            let length = unsafe {
                libc::recv(
                    self.fd.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    flags,
                )
            };
            if length >= 0 {
                break length as usize;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        };
        let mut rest = &buffer[..length];
        while let Some((kind, flags, sequence, body, after)) = split(rest) {
            rest = after;
            each(classify(kind, flags, sequence, body));
        }
        Ok(())
    }
}

enum Received<'a> {
    Acknowledgement { sequence: u32, failure: Option<Failure> },
    Done,
    Other(&'a [u8]),
}

type Split<'a> = (u16, u16, u32, &'a [u8], &'a [u8]);

/// Takes the first message off `bytes`.
fn split(bytes: &[u8]) -> Option<Split<'_>> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let length = word(0)? as usize;
    let body = bytes.get(HEADER..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((half(4)?, half(6)?, word(8)?, body, after))
}

fn classify(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Received<'_> {
    match kind {
        NLMSG_DONE => Received::Done,
        NLMSG_ERROR => {
            let code = body.get(..4).map_or(0, |code| {
                i32::from_ne_bytes(
                    code.try_into()
                        .expect("a slice of four bytes is an array of four"),
                )
            });
            let failure = (code != 0).then(|| Failure {
                sequence,
                errno: -code,
                hint: hint(flags, body),
            });
            Received::Acknowledgement { sequence, failure }
        }
        _ => Received::Other(body),
    }
}

/// The kernel's words follow the error number and the header (or, uncapped, all) of the request.
fn hint(flags: u16, body: &[u8]) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let request = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?) as usize;
    let skip = if flags & NLM_F_CAPPED == 0 {
        request.next_multiple_of(4)
    } else {
        HEADER
    };
    attributes(body.get(4 + skip..)?)
        .text(NLMSGERR_ATTR_MSG)
        .map(str::to_owned)
}
