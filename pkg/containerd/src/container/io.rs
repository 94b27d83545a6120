//! The pipes of a session: stdin that knows when its process is gone, outputs that tell their end.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// Set when the process that reads a stdin is gone.
#[derive(Default)]
pub(crate) struct Gone {
    flag: AtomicBool,
    waker: AtomicWaker,
}

impl Gone {
    pub(crate) fn set(&self) {
        self.flag.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// A process's stdin. Dropping it or shutting it down hands the pipe to who closes it properly.
pub(crate) struct Stdin {
    pipe: Option<pipe::Sender>,
    gone: Arc<Gone>,
    closed: Option<oneshot::Sender<pipe::Sender>>,
}

impl Stdin {
    /// Opens the FIFO; the receiver gets the pipe when the writer is done.
    pub(crate) fn open(fifo: &Path) -> io::Result<(Self, Arc<Gone>, oneshot::Receiver<pipe::Sender>)> {
        // Both ways: opening must not wait for the shim, nor fail without it.
        let pipe = pipe::OpenOptions::new().read_write(true).open_sender(fifo)?;
        let gone = Arc::new(Gone::default());
        let (closed, done) = oneshot::channel();
        Ok((
            Self {
                pipe: Some(pipe),
                gone: Arc::clone(&gone),
                closed: Some(closed),
            },
            gone,
            done,
        ))
    }

    fn close(&mut self) {
        if let (Some(pipe), Some(closed)) = (self.pipe.take(), self.closed.take()) {
            let _ = closed.send(pipe);
        }
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        self.close();
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.gone.waker.register(context.waker());
        let gone = self.gone.flag.load(Ordering::Acquire);
        match &mut self.pipe {
            Some(pipe) if !gone => Pin::new(pipe).poll_write(context, bytes),
            _ => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

/// An output that says when it was read to its end (or dropped).
pub(crate) struct Told<R> {
    inner: R,
    done: Option<oneshot::Sender<()>>,
}

impl<R> Told<R> {
    pub(crate) fn new(inner: R) -> (Self, oneshot::Receiver<()>) {
        let (done, told) = oneshot::channel();
        (
            Self {
                inner,
                done: Some(done),
            },
            told,
        )
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Told<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let answer = Pin::new(&mut self.inner).poll_read(context, buffer);
        let ended = match &answer {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            self.done = None;
        }
        answer
    }
}
