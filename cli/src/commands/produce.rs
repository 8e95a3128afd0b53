//! `kraft produce`: lines of standard input as records.

use std::io::{self, Read};
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Target, block_on};
use crate::client::{Acks, Client, Codec, Producer, ProducerConfig};
use crate::cluster::now_ms;
use crate::output::{notice, stdout_is_terminal};
use crate::report::{Context, Failure};

/// No line may be longer: brokers take no larger batch by default (message.max.bytes, 1 MiB), and
/// none at all beyond their largest request.
const MAX_LINE: usize = 100 * 1024 * 1024;
/// What is read ahead of the producer: a few chunks.
const CHUNK: usize = 256 * 1024;
const CHUNKS: usize = 4;

/// Write the lines of standard input to a topic, a record each
///
/// Ends when the input ends and everything is acknowledged. An empty line is an empty record.
#[derive(Debug, clap::Args)]
pub struct ProduceArgs {
    topic: String,
    /// The text before the first of these is the record's key
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    #[command(flatten)]
    options: ProducerArgs,
    #[command(flatten)]
    target: Target,
}

/// How to produce; the same for `bench`.
#[derive(Debug, clap::Args)]
pub struct ProducerArgs {
    /// Whom to wait for: 0 nobody, 1 the leader, all the whole ISR
    #[arg(long, value_enum, default_value = "all")]
    acks: AcksArg,
    #[arg(long, value_enum, default_value = "none")]
    compression: Codec,
    /// Everything to this partition
    #[arg(long)]
    partition: Option<i32>,
    /// How long a batch waits for company, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5)]
    linger_ms: u64,
    /// A batch's size before compression, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 128 * 1024,
        value_parser = clap::value_parser!(u32).range(1..=16 * 1024 * 1024)
    )]
    batch_bytes: u32,
    /// Without producer id and sequences: a retry may write a record twice
    #[arg(long)]
    no_idempotence: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AcksArg {
    #[value(name = "0", alias = "none")]
    None,
    #[value(name = "1", alias = "leader")]
    Leader,
    #[value(name = "all", alias = "-1")]
    All,
}

impl ProducerArgs {
    pub fn config(&self) -> ProducerConfig {
        let acks = match self.acks {
            AcksArg::None => Acks::None,
            AcksArg::Leader => Acks::Leader,
            AcksArg::All => Acks::All,
        };
        ProducerConfig {
            acks,
            codec: self.compression,
            linger: Duration::from_millis(self.linger_ms),
            batch_bytes: self.batch_bytes as usize,
            // Sequences are of use only if answers come from the whole ISR.
            idempotent: acks == Acks::All && !self.no_idempotence,
            partition: self.partition,
            ..ProducerConfig::default()
        }
    }
}

pub fn run(args: &ProduceArgs) -> Result<(), Failure> {
    if args.key_separator.as_deref() == Some("") {
        return Err(Failure::usage("--key-separator is empty"));
    }
    let client = args.target.client()?;
    block_on(async {
        let sent = produce(args, &client, standard_input()).await?;
        if stdout_is_terminal() {
            notice(&format!("{sent} records acknowledged"));
        }
        Ok(())
    })
}

async fn produce(
    args: &ProduceArgs,
    client: &Client,
    mut input: mpsc::Receiver<io::Result<Vec<u8>>>,
) -> Result<u64, Failure> {
    let failed = || format!("cannot produce to '{}'", args.topic);
    let producer =
        Producer::open(client, &args.topic, args.options.config()).await.doing(failed)?;
    let separator = args.key_separator.as_deref().map(str::as_bytes);
    let mut lines = Lines::default();
    while let Some(chunk) = input.recv().await {
        lines.push(&chunk.doing(|| "cannot read standard input".to_owned())?);
        let now_ms = now_ms() as i64;
        while let Some(line) = lines.next() {
            let (key, value) = split_key(line, separator);
            producer.send(now_ms, key, Some(value)).await.doing(failed)?;
        }
        if lines.unfinished() > MAX_LINE {
            return Err(Failure::new(failed()).because(format!("a line passes {MAX_LINE} bytes")));
        }
    }
    // The last line may lack its end.
    if lines.unfinished() > 0 {
        lines.push(b"\n");
        let line = lines.next().unwrap_or_default();
        let (key, value) = split_key(line, separator);
        producer.send(now_ms() as i64, key, Some(value)).await.doing(failed)?;
    }
    producer.close().await.doing(failed)
}

/// Lines of chunks, without a copy per line.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins.
    at: usize,
}

impl Lines {
    fn push(&mut self, chunk: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(chunk);
    }

    fn next(&mut self) -> Option<&[u8]> {
        let start = self.at;
        let length = self.bytes[start..].iter().position(|byte| *byte == b'\n')?;
        self.at = start + length + 1;
        Some(&self.bytes[start..start + length])
    }

    /// Bytes of the line that has not ended yet.
    fn unfinished(&self) -> usize {
        self.bytes.len() - self.at
    }
}

/// Chunks of standard input. A thread of its own reads them: neither a terminal nor a file can be
/// waited for without blocking.
fn standard_input() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = match stdin.read(&mut chunk) {
                Ok(0) => return,
                Ok(read) => Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            let chunk = read.map(|read| {
                chunk.truncate(read);
                chunk
            });
            if sender.blocking_send(chunk).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// Without the separator in it, the whole line is the value.
fn split_key<'a>(line: &'a [u8], separator: Option<&[u8]>) -> (Option<&'a [u8]>, &'a [u8]) {
    let Some(separator) = separator else { return (None, line) };
    match line.windows(separator.len()).position(|window| window == separator) {
        Some(at) => (Some(&line[..at]), &line[at + separator.len()..]),
        None => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_the_chunks_are_cut() {
        let mut lines = Lines::default();
        lines.push(b"one\ntw");
        assert_eq!(lines.next(), Some(&b"one"[..]));
        assert_eq!(lines.next(), None);
        lines.push(b"o\n\nthr");
        assert_eq!(lines.next(), Some(&b"two"[..]));
        assert_eq!(lines.next(), Some(&b""[..]));
        assert_eq!(lines.next(), None);
        assert_eq!(lines.unfinished(), 3);
    }

    #[test]
    fn the_first_separator_ends_the_key() {
        let separator = Some(&b": "[..]);
        assert_eq!(split_key(b"a: b: c", separator), (Some(&b"a"[..]), &b"b: c"[..]));
        assert_eq!(split_key(b"no key", separator), (None, &b"no key"[..]));
        assert_eq!(split_key(b": v", separator), (Some(&b""[..]), &b"v"[..]));
        assert_eq!(split_key(b"a: b", None), (None, &b"a: b"[..]));
    }
}
