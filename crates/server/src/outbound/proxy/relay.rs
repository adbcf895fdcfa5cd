//! Bytes both ways, until both sides have ended, or nothing has moved for too long.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Instant,
};

/// What went through so far; it counts also when the relay is broken off.
#[derive(Debug, Default)]
pub struct Carried {
    pub up: AtomicU64,
    pub down: AtomicU64,
}

/// One side's end is told to the other, which may go on answering.
pub async fn relay(
    near: impl AsyncRead + AsyncWrite,
    far: impl AsyncRead + AsyncWrite,
    idle: Duration,
    carried: &Carried,
) -> io::Result<()> {
    let (near_reader, near_writer) = tokio::io::split(near);
    let (far_reader, far_writer) = tokio::io::split(far);
    let both = async {
        tokio::try_join!(pump(near_reader, far_writer, &carried.up), pump(far_reader, near_writer, &carried.down),)
    };
    tokio::select! {
        ended = both => ended.map(|_| ()),
        () = silence(idle, carried) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn pump(reader: impl AsyncRead, writer: impl AsyncWrite, moved: &AtomicU64) -> io::Result<()> {
    tokio::pin!(reader, writer);
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = reader.read(&mut buffer).await?;
        if length == 0 {
            return writer.shutdown().await;
        }
        writer.write_all(&buffer[..length]).await?;
        moved.fetch_add(length as u64, Ordering::Relaxed);
    }
}

async fn silence(idle: Duration, carried: &Carried) {
    let total = || carried.up.load(Ordering::Relaxed) + carried.down.load(Ordering::Relaxed);
    let (mut last, mut since) = (total(), Instant::now());
    while since.elapsed() < idle {
        tokio::time::sleep(idle / 8).await;
        if total() != last {
            (last, since) = (total(), Instant::now());
        }
    }
}
