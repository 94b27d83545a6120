//! From the FIFOs of all containers to their log files, on one thread.
//!
//! ```text
//! process -> pipe -> shim -> FIFO -> [epoll, one buffer] -> Lines -> LogFile
//!                                            \-> watchers (attach)
//! ```
//!
//! The shim keeps a reader of each FIFO open: when kobune ends, writers are neither killed nor
//! lost, and the next kobune reads on where this one stopped. **Invariant**: a stream is closed
//! only at end of file, which comes when the shim has copied everything.

mod file;
pub(crate) mod keeper;
pub(crate) mod lines;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc, watch};

use file::LogFile;
use lines::{Lines, Output};

/// What is read at once: as much as a FIFO holds.
const BUFFER_BYTES: usize = 64 << 10;
/// Chunks an attached client may be behind before it is let go: the container never waits for it.
const WATCHER_CHUNKS: usize = 256;
const WAKE: u64 = 0;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// The thread that reads all containers' output.
pub(crate) struct Pump {
    shared: Arc<Shared>,
}

struct Shared {
    epoll: Epoll,
    wake: EventFd,
    stop: AtomicBool,
    streams: Mutex<HashMap<u64, Arc<Stream>>>,
    next: AtomicU64,
}

/// One FIFO.
struct Stream {
    fifo: File,
    lines: Mutex<Lines>,
    log: Arc<ContainerLog>,
}

/// The output of one container.
pub(crate) struct ContainerLog {
    file: Mutex<LogFile>,
    watchers: Mutex<Vec<Watcher>>,
    /// How many streams have not ended.
    open: watch::Sender<usize>,
    write_failed: AtomicBool,
}

struct Watcher {
    output: Output,
    sender: mpsc::Sender<Bytes>,
}

impl Pump {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        epoll.add(&wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let shared = Arc::new(Shared {
            epoll,
            wake,
            stop: AtomicBool::new(false),
            streams: Mutex::default(),
            next: AtomicU64::new(WAKE + 1),
        });
        let running = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("container-logs".into())
            .spawn(move || running.run())?;
        Ok(Self { shared })
    }

    /// Reads these FIFOs into a log file. `begun`: the container was started before, so that a FIFO
    /// without a writer has ended (otherwise its writer is still to come).
    pub(crate) fn follow(
        &self,
        fifos: &[(Output, &Path)],
        log: &Path,
        max_size: u64,
        max_files: u32,
        begun: bool,
    ) -> io::Result<Arc<ContainerLog>> {
        let log = Arc::new(ContainerLog {
            file: Mutex::new(LogFile::open(log, max_size, max_files)?),
            watchers: Mutex::default(),
            open: watch::Sender::new(fifos.len()),
            write_failed: AtomicBool::new(false),
        });
        for (output, path) in fifos {
            let fifo = std::fs::OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
                .open(path)?;
            self.shared.add(
                Stream {
                    fifo,
                    lines: Mutex::new(Lines::new(*output)),
                    log: Arc::clone(&log),
                },
                begun,
            )?;
        }
        Ok(log)
    }

    /// Stops reading a container's FIFOs.
    pub(crate) fn forget(&self, log: &Arc<ContainerLog>) {
        let mut streams = lock(&self.shared.streams);
        streams.retain(|_, stream| {
            let keep = !Arc::ptr_eq(&stream.log, log);
            if !keep {
                let _ = self.shared.epoll.delete(&stream.fifo);
            }
            keep
        });
    }
}

impl Pump {
    /// Ends the thread; the FIFOs, still open, are the caller's.
    pub(crate) fn stop(&self) -> Vec<File> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = self.shared.wake.write(1);
        let streams = std::mem::take(&mut *lock(&self.shared.streams));
        streams
            .into_values()
            .filter_map(|stream| stream.fifo.try_clone().ok())
            .collect()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

impl Shared {
    fn add(&self, stream: Stream, begun: bool) -> io::Result<()> {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let stream = Arc::new(stream);
        lock(&self.streams).insert(token, Arc::clone(&stream));
        if begun {
            // epoll never reports the end of a FIFO whose writer left before it was opened.
            let mut buffer = vec![0; BUFFER_BYTES];
            loop {
                match self.read(token, &stream, &mut buffer) {
                    Outcome::Data => {}
                    Outcome::Nothing => break,
                    Outcome::Ended => return Ok(()),
                }
            }
        }
        self.epoll
            .add(stream.fifo.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        Ok(())
    }

    fn run(&self) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut events = [EpollEvent::empty(); 64];
        while !self.stop.load(Ordering::Relaxed) {
            let ready = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => &events[..count],
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "waiting for containers' output");
                    return;
                }
            };
            for event in ready {
                let stream = lock(&self.streams).get(&event.data()).cloned();
                if let Some(stream) = stream {
                    self.read(event.data(), &stream, &mut buffer);
                }
            }
        }
    }

    /// Reads once; a stream that has ended is closed.
    fn read(&self, token: u64, stream: &Stream, buffer: &mut [u8]) -> Outcome {
        match (&stream.fifo).read(buffer) {
            Ok(0) => {}
            Ok(count) => {
                stream.take(&buffer[..count]);
                return Outcome::Data;
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return Outcome::Nothing;
            }
            Err(error) => tracing::warn!(%error, "reading a container's output"),
        }
        let _ = self.epoll.delete(&stream.fifo);
        lock(&self.streams).remove(&token);
        stream.end();
        Outcome::Ended
    }
}

/// What a read brought.
enum Outcome {
    Data,
    Nothing,
    Ended,
}

impl Stream {
    fn take(&self, bytes: &[u8]) {
        let mut lines = lock(&self.lines);
        let mut entries = Vec::with_capacity(bytes.len() + bytes.len() / 4 + 64);
        lines.feed(bytes, &now(), &mut entries);
        self.log.write(&entries);
        self.log.show(lines.output(), bytes);
    }

    fn end(&self) {
        let mut lines = lock(&self.lines);
        let mut entries = Vec::new();
        lines.finish(&now(), &mut entries);
        self.log.write(&entries);
        lock(&self.log.watchers).retain(|watcher| watcher.output != lines.output());
        self.log.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

fn now() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

impl ContainerLog {
    fn write(&self, entries: &[u8]) {
        if entries.is_empty() {
            return;
        }
        if let Err(error) = lock(&self.file).write(entries) {
            // A full disk must not stop the container; said once.
            if !self.write_failed.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, "a container's output is lost: its log cannot be written");
            }
        } else {
            self.write_failed.store(false, Ordering::Relaxed);
        }
    }

    fn show(&self, output: Output, bytes: &[u8]) {
        let mut watchers = lock(&self.watchers);
        if watchers.iter().any(|watcher| watcher.output == output) {
            let bytes = Bytes::copy_from_slice(bytes);
            watchers
                .retain(|watcher| watcher.output != output || watcher.sender.try_send(bytes.clone()).is_ok());
        }
    }

    /// From now on, a copy of one output.
    pub(crate) fn watch(&self, output: Output) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(WATCHER_CHUNKS);
        if *self.open.borrow() > 0 {
            lock(&self.watchers).push(Watcher { output, sender });
        }
        receiver
    }

    /// Opens the log's path again.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        lock(&self.file).reopen()
    }

    /// Returns when all output is in the log.
    pub(crate) async fn ended(&self) {
        // The sender is ours: it is not dropped while we wait.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

/// Makes a FIFO that only root can use.
pub(crate) fn make_fifo(path: &Path) -> io::Result<()> {
    match nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn writer(path: &Path) -> File {
        std::fs::OpenOptions::new().write(true).open(path).unwrap()
    }

    #[tokio::test]
    async fn what_is_written_before_the_end_is_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, path) = (folder.path().join("stdout"), folder.path().join("0.log"));
        make_fifo(&fifo).unwrap();
        let pump = Pump::start().unwrap();
        let log = pump
            .follow(&[(Output::Stdout, &fifo)], &path, 0, 0, false)
            .unwrap();
        let mut attached = log.watch(Output::Stdout);
        writer(&fifo).write_all(b"one\ntwo\n").unwrap();
        log.ended().await;
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(lines, ["stdout F one", "stdout F two"]);
        assert_eq!(attached.recv().await.unwrap(), "one\ntwo\n");
        assert!(attached.recv().await.is_none());
    }

    #[tokio::test]
    async fn output_written_while_nobody_read_is_read_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, path) = (folder.path().join("stdout"), folder.path().join("0.log"));
        make_fifo(&fifo).unwrap();
        let shim = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&fifo)
            .unwrap();
        writer(&fifo).write_all(b"while away\n").unwrap();
        let pump = Pump::start().unwrap();
        let log = pump
            .follow(&[(Output::Stdout, &fifo)], &path, 0, 0, true)
            .unwrap();
        drop(shim);
        log.ended().await;
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .ends_with("stdout F while away\n")
        );
    }

    #[tokio::test]
    async fn a_fifo_whose_writer_left_before_the_restart_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, path) = (folder.path().join("stdout"), folder.path().join("0.log"));
        make_fifo(&fifo).unwrap();
        let pump = Pump::start().unwrap();
        let log = pump
            .follow(&[(Output::Stdout, &fifo)], &path, 0, 0, true)
            .unwrap();
        log.ended().await;
    }
}
