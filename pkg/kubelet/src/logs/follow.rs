//! Streams a log file, and what is added to it, across rotations, until the container has ended.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::line::{self, Output};

/// Bytes handed on at once.
const CHUNK: usize = 32 << 10;
/// After the container's end its last output may still be on the way into the file.
const LAST_OUTPUT: Duration = Duration::from_millis(200);

/// What of a log is wanted, as in `PodLogOptions`.
#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    /// The file.
    pub path: PathBuf,
    /// Go on when more is written.
    pub follow: bool,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// Only so many lines from the end.
    pub tail: Option<u64>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit: Option<u64>,
    /// Only this output.
    pub only: Option<Output>,
}

/// Sends the log in pieces; returns at its end or when nobody listens any more. `ended` is cancelled
/// when the container is not running.
pub async fn stream(request: LogRequest, ended: CancellationToken, to: mpsc::Sender<io::Result<Bytes>>) {
    if let Err(error) = run(request, ended, &to).await {
        let _ = to.send(Err(error)).await;
    }
}

async fn run(
    request: LogRequest,
    ended: CancellationToken,
    to: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let watch = if request.follow {
        Some(Watch::new(&request.path)?)
    } else {
        None
    };
    let mut reader = Reader::open(&request)?;
    let mut last_round = false;
    loop {
        loop {
            // Reads of a local file: a page cache away, and never more than a chunk.
            let chunk = reader.chunk(&request)?;
            let full = reader.limit == Some(0);
            if chunk.is_empty() && !full {
                break;
            }
            if (!chunk.is_empty() && to.send(Ok(chunk)).await.is_err()) || full {
                return Ok(());
            }
        }
        if reader.rotated(&request.path) {
            reader.reopen(&request.path)?;
            continue;
        }
        let Some(watch) = &watch else { return Ok(()) };
        if last_round {
            return Ok(());
        }
        tokio::select! {
            changed = watch.changed() => changed?,
            () = ended.cancelled() => {
                // Until the file is quiet.
                while tokio::time::timeout(LAST_OUTPUT, watch.changed()).await.is_ok() {
                    if reader.has_more(&request.path) {
                        break;
                    }
                }
                last_round = !reader.has_more(&request.path);
                if last_round { return Ok(()); }
            }
            () = to.closed() => return Ok(()),
        }
    }
}

struct Reader {
    file: BufReader<File>,
    entry: Vec<u8>,
    limit: Option<u64>,
}

impl Reader {
    fn open(request: &LogRequest) -> io::Result<Self> {
        let mut file = File::open(&request.path)?;
        let offset = match request.tail {
            Some(lines) => super::tail_offset(&mut file, lines)?,
            None => 0,
        };
        file.seek(SeekFrom::Start(offset))?;
        Ok(Reader {
            file: BufReader::with_capacity(CHUNK, file),
            entry: Vec::new(),
            limit: request.limit,
        })
    }

    fn reopen(&mut self, path: &Path) -> io::Result<()> {
        self.file = BufReader::with_capacity(CHUNK, File::open(path)?);
        self.entry.clear();
        Ok(())
    }

    /// True when the path leads to another file than the one that is open.
    fn rotated(&self, path: &Path) -> bool {
        match (self.file.get_ref().metadata(), std::fs::metadata(path)) {
            (Ok(open), Ok(now)) => open.ino() != now.ino(),
            _ => false,
        }
    }

    fn has_more(&mut self, path: &Path) -> bool {
        let position = self.file.stream_position().unwrap_or(0);
        let length = self.file.get_ref().metadata().map_or(0, |m| m.len());
        length > position || self.rotated(path)
    }

    /// The next lines as they are wanted; empty at the present end of the file.
    fn chunk(&mut self, request: &LogRequest) -> io::Result<Bytes> {
        let mut chunk = BytesMut::new();
        while chunk.len() < CHUNK {
            self.file.read_until(b'\n', &mut self.entry)?;
            if !self.entry.ends_with(b"\n") {
                // Not written to its end yet: the rest is appended at the next look.
                break;
            }
            if let Some(line) = line::parse(&self.entry) {
                add(&mut chunk, &line, request);
            }
            self.entry.clear();
        }
        if let Some(limit) = &mut self.limit {
            let allowed = usize::try_from(*limit).unwrap_or(usize::MAX).min(chunk.len());
            chunk.truncate(allowed);
            *limit -= allowed as u64;
        }
        Ok(chunk.freeze())
    }
}

fn add(chunk: &mut BytesMut, line: &line::Line<'_>, request: &LogRequest) {
    if request.only.is_some_and(|o| o != line.output) {
        return;
    }
    if let Some(since) = request.since
        && line.timestamp().is_some_and(|t| t < since)
    {
        return;
    }
    if request.timestamps {
        chunk.extend_from_slice(line.time);
        chunk.extend_from_slice(b" ");
    }
    chunk.extend_from_slice(line.content);
    if line.complete {
        chunk.extend_from_slice(b"\n");
    }
}

/// The kernel's notice of changes in the log's folder.
struct Watch(AsyncFd<Descriptor>);

/// tokio wants the raw number.
struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    fn new(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(path.parent().unwrap_or(Path::new("/")), flags)?;
        // SAFETY: the descriptor is owned by what is registered and is neither closed nor replaced
        // before that is dropped.
        let registered = unsafe { AsyncFd::register(Descriptor(inotify)) };
        Ok(Watch(registered.map_err(io::Error::from)?))
    }

    async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            match self.0.get_ref().0.read_events() {
                Ok(_) => return Ok(()),
                Err(nix::errno::Errno::EAGAIN) => ready.clear_ready(),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn entry(text: &str) -> String {
        format!("2024-01-02T03:04:05.000000000Z stdout F {text}\n")
    }

    async fn all(mut from: mpsc::Receiver<io::Result<Bytes>>) -> String {
        let mut text = String::new();
        while let Some(piece) = from.recv().await {
            text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        }
        text
    }

    fn begin(request: LogRequest, ended: &CancellationToken) -> mpsc::Receiver<io::Result<Bytes>> {
        let (to, from) = mpsc::channel(8);
        tokio::spawn(stream(request, ended.clone(), to));
        from
    }

    #[tokio::test]
    async fn options_choose_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let text = entry("one")
            + "2024-01-02T03:04:06.000000000Z stderr P tw\n2024-01-02T03:04:07.000000000Z stderr F o\n";
        std::fs::write(&path, text).unwrap();
        let ended = CancellationToken::new();
        let request = LogRequest {
            path,
            ..Default::default()
        };
        assert_eq!(all(begin(request.clone(), &ended)).await, "one\ntwo\n");
        let timed = LogRequest {
            timestamps: true,
            tail: Some(1),
            ..request.clone()
        };
        assert_eq!(
            all(begin(timed, &ended)).await,
            "2024-01-02T03:04:07.000000000Z o\n"
        );
        let limited = LogRequest {
            limit: Some(5),
            ..request.clone()
        };
        assert_eq!(all(begin(limited, &ended)).await, "one\nt");
        let since = LogRequest {
            since: Some("2024-01-02T03:04:06Z".parse().unwrap()),
            ..request.clone()
        };
        assert_eq!(all(begin(since, &ended)).await, "two\n");
        let only = LogRequest {
            only: Some(Output::Stdout),
            ..request
        };
        assert_eq!(all(begin(only, &ended)).await, "one\n");
    }

    #[tokio::test]
    async fn a_followed_log_goes_on_over_a_rotation_until_the_container_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, entry("one")).unwrap();
        let ended = CancellationToken::new();
        let mut from = begin(
            LogRequest {
                path: path.clone(),
                follow: true,
                ..Default::default()
            },
            &ended,
        );
        assert_eq!(from.recv().await.unwrap().unwrap(), "one\n");
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(entry("two").as_bytes()).unwrap();
        assert_eq!(from.recv().await.unwrap().unwrap(), "two\n");
        std::fs::rename(&path, dir.path().join("0.log.old")).unwrap();
        std::fs::write(&path, entry("three")).unwrap();
        assert_eq!(from.recv().await.unwrap().unwrap(), "three\n");
        ended.cancel();
        assert!(from.recv().await.is_none());
    }
}
