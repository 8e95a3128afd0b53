//! `kraft consume`: records as lines of standard output.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use super::{Target, block_on};
use crate::client::records::Record;
use crate::client::{Client, ClientError, Consumer, ConsumerConfig, Fetched, Start};
use crate::output::stdout_failed;
use crate::report::{Context, Failure};

/// What is decoded is shown at the latest after this, so that a slow topic is not held back.
const FLUSH: Duration = Duration::from_millis(50);

/// Print the records of a topic, a line each
///
/// Without options: what is written from now on, until Ctrl-C. Values are raw bytes.
#[derive(Debug, clap::Args)]
pub struct ConsumeArgs {
    topic: String,
    /// From the first record that is still there
    #[arg(long)]
    from_beginning: bool,
    /// Only these; may be repeated
    #[arg(long, value_name = "N")]
    partition: Vec<i32>,
    /// From this offset of --partition
    #[arg(long, requires = "partition", conflicts_with = "from_beginning")]
    offset: Option<i64>,
    /// End after so many records
    #[arg(long, value_name = "N")]
    max_messages: Option<u64>,
    /// End when everything is read that was there at the start
    #[arg(long)]
    exit_at_end: bool,
    #[command(flatten)]
    format: LineFormat,
    #[command(flatten)]
    target: Target,
}

/// What a line holds: the asked-for fields, then the value, between tabs.
#[derive(Clone, Copy, Debug, clap::Args)]
struct LineFormat {
    #[arg(long)]
    print_timestamp: bool,
    #[arg(long)]
    print_partition: bool,
    #[arg(long)]
    print_offset: bool,
    #[arg(long)]
    print_key: bool,
    #[arg(long)]
    print_headers: bool,
}

pub fn run(args: &ConsumeArgs) -> Result<(), Failure> {
    let client = args.target.client()?;
    block_on(consume(args, &client))
}

async fn consume(args: &ConsumeArgs, client: &Client) -> Result<(), Failure> {
    let failed = || format!("cannot consume '{}'", args.topic);
    let start = match args.offset {
        Some(offset) => Start::Offset(offset),
        None if args.from_beginning => Start::Earliest,
        None => Start::Latest,
    };
    let config = ConsumerConfig::default();
    let consumer = Consumer::open(client, &args.topic, &args.partition, start, config).await;
    let mut consumer = consumer.doing(failed)?;
    let ends =
        if args.exit_at_end { Some(consumer.end_offsets().await.doing(failed)?) } else { None };
    let mut printer = Printer {
        out: BufWriter::with_capacity(256 * 1024, io::stdout().lock()),
        format: args.format,
        left: args.max_messages.unwrap_or(u64::MAX),
        ends,
        scratch: Vec::new(),
    };
    while printer.left > 0 && !printer.is_at_end(&consumer) {
        let deadline = Instant::now() + FLUSH;
        match consumer.next_before(deadline).await.doing(failed)? {
            Some(fetched) => printer.print(&args.topic, &fetched)?,
            None => printer.out.flush().map_err(stdout_failed)?,
        }
    }
    printer.out.flush().map_err(stdout_failed)
}

struct Printer<W> {
    out: W,
    format: LineFormat,
    /// Records still to be printed.
    left: u64,
    ends: Option<BTreeMap<i32, i64>>,
    scratch: Vec<u8>,
}

impl<W: Write> Printer<W> {
    fn is_at_end(&self, consumer: &Consumer) -> bool {
        self.ends.as_ref().is_some_and(|ends| consumer.has_reached(ends))
    }

    fn print(&mut self, topic: &str, fetched: &Fetched) -> Result<(), Failure> {
        let Printer { out, format, left, ends, scratch } = self;
        let partition = fetched.partition;
        let end = ends.as_ref().and_then(|ends| ends.get(&partition).copied());
        let end = end.unwrap_or(i64::MAX);
        for batch in &fetched.batches {
            let mut written = Ok(());
            let read = batch.for_each_record(scratch, |record| {
                let wanted = record.offset >= fetched.from && record.offset < end && *left > 0;
                if wanted && written.is_ok() {
                    *left -= 1;
                    written = write_line(out, *format, partition, &record);
                }
            });
            read.map_err(|error| ClientError::Records {
                topic: topic.to_owned(),
                partition,
                error,
            })
            .doing(|| format!("cannot consume '{topic}'"))?;
            written.map_err(stdout_failed)?;
        }
        Ok(())
    }
}

fn write_line(
    out: &mut impl Write,
    format: LineFormat,
    partition: i32,
    record: &Record<'_>,
) -> io::Result<()> {
    if format.print_timestamp {
        write!(out, "{}\t", record.timestamp_ms)?;
    }
    if format.print_partition {
        write!(out, "{partition}\t")?;
    }
    if format.print_offset {
        write!(out, "{}\t", record.offset)?;
    }
    if format.print_headers {
        for (index, (key, value)) in record.headers().enumerate() {
            out.write_all(if index > 0 { b"," } else { b"" })?;
            out.write_all(key)?;
            out.write_all(b":")?;
            out.write_all(value.unwrap_or(b"null"))?;
        }
        out.write_all(b"\t")?;
    }
    if format.print_key {
        out.write_all(record.key.unwrap_or(b"null"))?;
        out.write_all(b"\t")?;
    }
    out.write_all(record.value.unwrap_or(b"null"))?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Codec;
    use crate::client::records::{BatchBuilder, BatchIter, Identity};

    fn fetched() -> Fetched {
        let mut builder = BatchBuilder::new(256);
        for value in [b"a", b"b", b"c", b"d"] {
            builder.append(7, Some(b"k"), Some(value));
        }
        let sealed = builder.seal(Codec::None, Identity::NONE).expect("nothing is compressed");
        let batches = BatchIter::new(sealed.bytes).collect::<Result<_, _>>();
        Fetched { partition: 3, from: 1, batches: batches.expect("it is whole") }
    }

    fn printed(format: LineFormat, left: u64, end: i64) -> String {
        let ends = Some(BTreeMap::from([(3, end)]));
        let mut printer = Printer { out: Vec::new(), format, left, ends, scratch: Vec::new() };
        printer.print("t", &fetched()).expect("memory takes every write");
        String::from_utf8(printer.out).expect("it is ASCII")
    }

    const BARE: LineFormat = LineFormat {
        print_timestamp: false,
        print_partition: false,
        print_offset: false,
        print_key: false,
        print_headers: false,
    };

    #[test]
    fn records_before_the_offset_and_after_the_end_are_not_printed() {
        assert_eq!(printed(BARE, u64::MAX, 3), "b\nc\n");
        assert_eq!(printed(BARE, 1, 4), "b\n");
    }

    #[test]
    fn the_asked_for_fields_stand_before_the_value() {
        let all = LineFormat {
            print_timestamp: true,
            print_partition: true,
            print_offset: true,
            print_key: true,
            print_headers: false,
        };
        assert_eq!(printed(all, 1, 4), "7\t3\t1\tk\tb\n");
    }
}
