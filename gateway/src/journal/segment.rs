//! One file of records: a fixed header, then framed records, in space that was allocated before the first of them.
//!
//! ```text
//! header, 64 bytes: magic 8 | version u32 | lane u32 | boot 16 | first sequence u64 | crc32c of the 40 before it u32 | 0
//! record:           length u32 | crc32c of the payload u32 | payload: sortie.v1.Record
//! end:              length 0
//! ```
//!
//! Numbers are little-endian. A file belongs to one lane of one boot; its first record has the sequence in the header
//! and each further one the next. **Invariant:** what stands before the write position is never written again, so a
//! reader that stays below it needs no lock. The kernel holds what one `pwrite` took, so a record survives the death of
//! the process the moment [`Segment::append`] returns; it survives power loss once it is synced.
//!
//! It does not bound how many files there are, and it never reuses one: the space behind the last record is zero
//! because the file system says so, not because somebody cleared it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sortie_proto::id::BootId;

const MAGIC: &[u8; 8] = b"SORTIEJ\n";
const VERSION: u32 = 1;
/// The bytes before the first record.
pub(super) const HEADER_LEN: usize = 64;
/// The bytes before a payload.
pub(super) const FRAME_LEN: usize = 8;
const FRAME_LEN_U64: u64 = 8;
/// The most that a reader reads ahead.
const AHEAD_BYTES: usize = 64 * 1024;
/// Where the first record stands.
const RECORDS_START: u64 = 64;
const SUFFIX: &str = ".seg";

/// Which records a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The boot that wrote it.
    pub(super) boot: BootId,
    /// The lane of that boot.
    pub(super) lane: u32,
    /// The sequence of its first record.
    pub(super) first: u64,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.lane.to_le_bytes());
        bytes.extend_from_slice(self.boot.uuid().as_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        let check = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&check.to_le_bytes());
        let mut header = [0; HEADER_LEN];
        for (to, from) in header.iter_mut().zip(bytes) {
            *to = from;
        }
        header
    }

    fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let (covered, rest) = bytes.split_at_checked(40)?;
        let check = u32::from_le_bytes(*rest.first_chunk()?);
        let (magic, rest) = covered.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (lane, rest) = rest.split_first_chunk()?;
        let (boot, rest) = rest.split_at_checked(16)?;
        let known = magic == MAGIC && u32::from_le_bytes(*version) == VERSION;
        (known && check == crc32c::crc32c(covered)).then_some(())?;
        Some(Self {
            boot: BootId::from_bytes(boot).ok()?,
            lane: u32::from_le_bytes(*lane),
            first: u64::from_le_bytes(*rest.first_chunk()?),
        })
    }
}

/// Appends a framed payload to a buffer. `encode` writes the payload.
pub(super) fn frame(buffer: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; FRAME_LEN]);
    encode(buffer);
    let Some((head, payload)) = buffer
        .get_mut(start..)
        .and_then(|framed| framed.split_first_chunk_mut::<FRAME_LEN>())
    else {
        return;
    };
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let words = [length, crc32c::crc32c(payload)];
    for (to, from) in head
        .iter_mut()
        .zip(words.into_iter().flat_map(u32::to_le_bytes))
    {
        *to = from;
    }
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    file: Arc<File>,
    path: PathBuf,
    first: u64,
    next: u64,
    end: u64,
    capacity: u64,
}

/// The part of a segment that is complete, for a reader.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// The file.
    pub(super) path: PathBuf,
    /// The sequence of its first record.
    pub(super) first: u64,
    /// What its writer knows; `None` where only the records themselves tell.
    pub(super) written: Option<Written>,
}

/// What the writer of a segment knows about it.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// The file, open: whoever removes its name takes nothing from a reader.
    pub(super) file: Arc<File>,
    /// Where complete records end, in bytes.
    pub(super) end: u64,
    /// The sequence behind the last of them.
    pub(super) next: u64,
}

impl Span {
    /// Where complete records end, in bytes, if the writer is there to tell.
    pub(super) fn end(&self) -> Option<u64> {
        self.written.as_ref().map(|written| written.end)
    }
}

impl Segment {
    /// Makes a file and allocates all its space, so that a full disk is met here and not in the middle of a record.
    pub(super) fn create(folder: &Path, header: Header, capacity: u64) -> io::Result<Self> {
        let path = folder.join(format!("{:04}-{:020}{SUFFIX}", header.lane, header.first));
        let made = Self::create_at(&path, header, capacity);
        if made.is_err() {
            // A file without its space, or without its header, holds nothing; left behind it would only take room.
            drop(std::fs::remove_file(&path));
        }
        let file = Arc::new(made?);
        Ok(Self {
            file,
            path,
            first: header.first,
            next: header.first,
            end: RECORDS_START,
            capacity,
        })
    }

    fn create_at(path: &Path, header: Header, capacity: u64) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        allocate(&file, capacity)?;
        file.write_all_at(&header.to_bytes(), 0)?;
        Ok(file)
    }

    /// Whether so many bytes of framed records still fit.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        u64::try_from(bytes).is_ok_and(|bytes| bytes <= self.capacity.saturating_sub(self.end))
    }

    /// Writes framed records in one `pwrite`. After an error nothing has been appended: the next call writes over it.
    pub(super) fn append(&mut self, framed: &[u8], records: u64) -> io::Result<()> {
        self.file.write_all_at(framed, self.end)?;
        self.end = self
            .end
            .saturating_add(u64::try_from(framed.len()).unwrap_or(u64::MAX));
        self.next = self.next.saturating_add(records);
        Ok(())
    }

    /// The sequence of its first record.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// The sequence that the next record will have.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// What is complete.
    pub(super) fn span(&self) -> Span {
        Span {
            path: self.path.clone(),
            first: self.first,
            written: Some(Written {
                file: Arc::clone(&self.file),
                end: self.end,
                next: self.next,
            }),
        }
    }
}

/// The payloads of framed records.
pub(super) fn payloads(mut framed: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = framed.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let payload = rest.split_at_checked(4)?.1;
        let (payload, rest) = payload.split_at_checked(length)?;
        framed = rest;
        Some(payload)
    })
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, capacity: u64) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{FallocateFlags, fallocate};

    let length = i64::try_from(capacity).or(Err(io::ErrorKind::InvalidInput))?;
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        // Some network and FUSE file systems have no allocation; there a full disk is met by the write itself.
        Err(Errno::EOPNOTSUPP) => file.set_len(capacity),
        outcome => Ok(outcome?),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &File, capacity: u64) -> io::Result<()> {
    file.set_len(capacity)
}

/// What a reader came upon.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A record's payload.
    Record(Vec<u8>),
    /// The bytes in the place of a record, which are not those that were written: the one behind it can be read.
    Damaged(Vec<u8>),
    /// The end of the complete records.
    End,
    /// Bytes that are no record: the tail was torn, or the file was altered.
    Torn,
}

/// Reads a segment's records in order.
#[derive(Debug)]
pub(super) struct Reader {
    file: Arc<File>,
    header: Header,
    next: u64,
    offset: u64,
    length: u64,
    /// Bytes of complete records from `ahead_at` on: never written again, so that they may be kept.
    ahead: Vec<u8>,
    ahead_at: u64,
}

impl Reader {
    /// Opens a segment. `None` if its header is not that of a segment: a file that was being made when its process
    /// died.
    #[cfg(test)]
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        Self::over(File::open(path)?.into())
    }

    /// Opens what a span tells of.
    pub(super) fn of(span: &Span) -> io::Result<Option<Self>> {
        match &span.written {
            Some(written) => Self::over(Arc::clone(&written.file)),
            None => Self::over(File::open(&span.path)?.into()),
        }
    }

    fn over(file: Arc<File>) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        let mut bytes = [0; HEADER_LEN];
        match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            outcome => outcome?,
        }
        Ok(Header::from_bytes(&bytes).map(|header| Self {
            file,
            header,
            next: header.first,
            offset: RECORDS_START,
            length,
            ahead: Vec::new(),
            ahead_at: 0,
        }))
    }

    /// Which records it holds.
    pub(super) const fn header(&self) -> Header {
        self.header
    }

    /// The sequence of the record that is read next.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Reads on from where a record with this sequence stands.
    pub(super) const fn skip_to(&mut self, offset: u64, next: u64) {
        self.offset = offset;
        self.next = next;
    }

    /// Reads the next record. `end` is where complete records end, if the caller knows.
    pub(super) fn read(&mut self, end: Option<u64>) -> io::Result<Read> {
        let written = end;
        let end = end.map_or(self.length, |end| end.min(self.length));
        let Some(left) = end
            .checked_sub(self.offset)
            .and_then(|left| left.checked_sub(FRAME_LEN_U64))
        else {
            return Ok(Read::End);
        };
        let (length, check) = frame_head(self.bytes(self.offset, FRAME_LEN, end)?)?;
        if length == 0 {
            return self.end(end);
        }
        if u64::from(length) > left {
            return Ok(Read::Torn);
        }
        let start = self.offset.saturating_add(FRAME_LEN_U64);
        let size = usize::try_from(length).or(Err(io::ErrorKind::InvalidData))?;
        let payload = self.bytes(start, size, end)?.to_vec();
        let behind = start.saturating_add(u64::from(length));
        let is_whole = crc32c::crc32c(&payload) == check;
        // Its length is right if a record follows, or the end that its writer knows.
        if !is_whole && written != Some(behind) && !self.is_record(behind, end)? {
            return Ok(Read::Torn);
        }
        self.offset = behind;
        self.next = self.next.saturating_add(1);
        Ok(if is_whole {
            Read::Record(payload)
        } else {
            Read::Damaged(payload)
        })
    }

    /// What it means that no record follows: the space behind the last one is zero.
    fn end(&mut self, end: u64) -> io::Result<Read> {
        let mut at = self.offset;
        while at < end {
            let size = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            let bytes = self.bytes(at, size.min(AHEAD_BYTES), end)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(Read::Torn);
            }
            at = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        Ok(Read::End)
    }

    /// Whether a whole record stands at `offset`.
    fn is_record(&mut self, offset: u64, end: u64) -> io::Result<bool> {
        let start = offset.saturating_add(FRAME_LEN_U64);
        let Some(left) = end.checked_sub(start) else {
            return Ok(false);
        };
        let (length, check) = frame_head(self.bytes(offset, FRAME_LEN, end)?)?;
        if length == 0 || u64::from(length) > left {
            return Ok(false);
        }
        let size = usize::try_from(length).or(Err(io::ErrorKind::InvalidData))?;
        Ok(crc32c::crc32c(self.bytes(start, size, end)?) == check)
    }

    /// `size` bytes from `offset` on, which end before `end`. Reads ahead: a record is a few hundred bytes, and a call
    /// of the kernel for each would cost more than what is done with it.
    fn bytes(&mut self, offset: u64, size: usize, end: u64) -> io::Result<&[u8]> {
        let held = |reader: &Self| {
            let from = usize::try_from(offset.checked_sub(reader.ahead_at)?).ok()?;
            let to = from.checked_add(size)?;
            (to <= reader.ahead.len()).then_some(from..to)
        };
        let range = match held(self) {
            Some(range) => range,
            None => {
                let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
                self.ahead.resize(left.min(AHEAD_BYTES.max(size)), 0);
                self.ahead_at = offset;
                let read = self.file.read_exact_at(&mut self.ahead, offset);
                if read.is_err() {
                    self.ahead.clear();
                }
                read?;
                held(self).ok_or(io::ErrorKind::UnexpectedEof)?
            }
        };
        self.ahead
            .get(range)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// The length of a record and the sum over it.
fn frame_head(bytes: &[u8]) -> io::Result<(u32, u32)> {
    match bytes {
        &[a, b, c, d, e, f, g, h] => Ok((
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        )),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The segments of a folder, by lane and then by first sequence, as their names say.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u32, Span)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((lane, first)) = name
            .and_then(|name| name.strip_suffix(SUFFIX))
            .and_then(|name| name.split_once('-'))
        else {
            continue;
        };
        if let (Ok(lane), Ok(first)) = (lane.parse(), first.parse()) {
            let span = Span {
                path,
                first,
                written: None,
            };
            found.push((lane, span));
        }
    }
    found.sort_by_key(|(lane, span)| (*lane, span.first));
    Ok(found)
}

#[cfg(test)]
mod tests;
