//! A tar from an asynchronous reader, entry by entry: decompressed and parsed on a thread of its own,
//! with a few chunks in flight, so that memory does not grow with the archive.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use kobune_runtime::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use super::content::CHUNK_BYTES;

const IN_FLIGHT: usize = 4;

/// What comes out of an archive, in order.
pub(crate) enum Part {
    /// A file begins; its data follows.
    File { path: String, size: u64 },
    /// Data of the file.
    Data(Vec<u8>),
    /// The file is complete.
    End,
    /// A link to another path of the archive.
    Link { path: String, target: String },
    /// The archive cannot be read.
    Failed(io::Error),
}

/// Reads `tar` to its end; `parts` receives what is in it.
pub(crate) async fn read(tar: &mut (dyn AsyncRead + Send + Unpin), parts: mpsc::Sender<Part>) -> Result<()> {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(IN_FLIGHT);
    let parser = tokio::task::spawn_blocking(move || {
        let input = Chunks {
            receiver,
            current: Bytes::new(),
        };
        if let Err(error) = parse(input, &parts) {
            let _ = parts.blocking_send(Part::Failed(error));
        }
    });
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match tar.read(&mut buffer).await {
            Ok(0) => break,
            Ok(count) => {
                // Nobody reads on after an error, or after the archive's end.
                if sender
                    .send(Ok(Bytes::copy_from_slice(&buffer[..count])))
                    .await
                    .is_err()
                {
                    break;
                }
            }
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                break;
            }
        }
    }
    drop(sender);
    parser
        .await
        .map_err(|error| Error::other("reading an archive", error))
}

/// The chunks as a blocking reader.
struct Chunks {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Looks at the first bytes to see how the archive is compressed.
fn decompress(mut input: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut magic = [0; 4];
    let mut filled = 0;
    while filled < magic.len() {
        match input.read(&mut magic[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    let whole = Read::chain(io::Cursor::new(magic[..filled].to_vec()), input);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(whole)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            Box::new(decoder)
        }
        _ => Box::new(whole),
    })
}

fn parse(input: Chunks, parts: &mpsc::Sender<Part>) -> io::Result<()> {
    let mut archive = tar::Archive::new(decompress(input)?);
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = clean(&entry.path()?.to_string_lossy());
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            let target = entry
                .link_name()?
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            let target = if kind.is_symlink() {
                beside(&path, &target)
            } else {
                clean(&target)
            };
            parts.blocking_send(Part::Link { path, target }).map_err(gone)?;
        } else if kind.is_file() {
            parts
                .blocking_send(Part::File {
                    path,
                    size: entry.size(),
                })
                .map_err(gone)?;
            loop {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES.min(entry.size() as usize + 1));
                if (&mut entry).take(CHUNK_BYTES as u64).read_to_end(&mut chunk)? == 0 {
                    break;
                }
                parts.blocking_send(Part::Data(chunk)).map_err(gone)?;
            }
            parts.blocking_send(Part::End).map_err(gone)?;
        }
    }
    Ok(())
}

fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A symbolic link's target, seen from the link's folder.
fn beside(path: &str, target: &str) -> String {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    clean(&format!("{folder}/{target}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_target_is_found_from_its_folder() {
        assert_eq!(beside("a/layer.tar", "../b/layer.tar"), "b/layer.tar");
        assert_eq!(clean("./blobs//sha256/x"), "blobs/sha256/x");
    }
}
