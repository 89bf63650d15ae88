//! Plain, gzip, xz and zstd streams, told apart by their first bytes, with bounds on memory and output.

use std::{
    fmt,
    io::{self, BufReader, Cursor, Read},
};

use super::limits::{XZ_MEMORY_BYTES, ZSTD_WINDOW_LOG};

/// Form of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    Plain,
    /// RFC 1952, one member or several.
    Gzip,
    /// The `.xz` format, one stream or several.
    Xz,
    /// RFC 8878, one frame or several.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// Failure of a compressed stream. Readers carry it inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// The form is known, and not read here.
    #[error("the stream is compressed with {0}; plain, gzip, xz and zstd are supported")]
    Unsupported(&'static str),
    /// The stream contradicts its form, or is cut.
    #[error("the {compression} stream is damaged")]
    Damaged {
        /// Its form.
        compression: Compression,
        /// The decoder's reason.
        source: io::Error,
    },
    /// The decoder would need too much memory.
    #[error("the {compression} stream needs more than {limit} bytes of memory")]
    Memory {
        /// Its form.
        compression: Compression,
        /// The most bytes.
        limit: u64,
    },
    /// The stream unpacks to more bytes than it may.
    #[error("the {compression} stream unpacks to more than {limit} bytes")]
    TooLarge {
        /// Its form.
        compression: Compression,
        /// The most bytes.
        limit: u64,
    },
}

impl Compression {
    /// Tells the form by the first bytes; six suffice.
    ///
    /// # Errors
    ///
    /// [`CompressionError::Unsupported`] for bzip2, lzip, lzma and lz4.
    pub fn of(start: &[u8]) -> Result<Self, CompressionError> {
        let marks: [(&[u8], Result<Self, &'static str>); 8] = [
            (b"\x1f\x8b", Ok(Self::Gzip)),
            (b"\xfd7zXZ\0", Ok(Self::Xz)),
            (b"\x28\xb5\x2f\xfd", Ok(Self::Zstd)),
            (b"BZh", Err("bzip2")),
            (b"LZIP", Err("lzip")),
            (b"\x5d\0\0\x80\0", Err("lzma")),
            (b"\x5d\0\0\0\x04", Err("lzma")),
            (b"\x04\x22\x4d\x18", Err("lz4")),
        ];
        match marks.iter().find(|(mark, _)| start.starts_with(mark)) {
            Some((_, Ok(compression))) => Ok(*compression),
            Some((_, Err(name))) => Err(CompressionError::Unsupported(name)),
            None => Ok(Self::Plain),
        }
    }
}

type Source<R> = io::Chain<Cursor<Vec<u8>>, R>;

enum Kind<R: Read> {
    Plain(Source<R>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<Source<R>>>>),
    Xz(Box<liblzma::bufread::XzDecoder<BufReader<Source<R>>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<Source<R>>>>),
}

/// Unpacks a stream, whatever its form, up to a number of bytes.
pub(crate) struct Decoder<R: Read> {
    kind: Kind<R>,
    compression: Compression,
    limit: u64,
    left: u64,
}

impl<R: Read> fmt::Debug for Decoder<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Decoder({}, {} bytes left)", self.compression, self.left)
    }
}

impl<R: Read> Decoder<R> {
    /// Reads the first bytes of `input`, and unpacks at most `limit` bytes.
    pub(crate) fn new(mut input: R, limit: u64) -> io::Result<Self> {
        let mut start = Vec::with_capacity(6);
        input.by_ref().take(6).read_to_end(&mut start)?;
        let compression = Compression::of(&start).map_err(invalid)?;
        let source = Cursor::new(start).chain(input);
        let kind = match compression {
            Compression::Plain => Kind::Plain(source),
            Compression::Gzip => {
                Kind::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(source))))
            }
            Compression::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(
                    XZ_MEMORY_BYTES,
                    liblzma::stream::CONCATENATED,
                )?;
                Kind::Xz(Box::new(liblzma::bufread::XzDecoder::new_stream(BufReader::new(source), stream)))
            }
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(BufReader::new(source))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Kind::Zstd(Box::new(decoder))
            }
        };
        Ok(Self { kind, compression, limit, left: limit })
    }

    fn unpack(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.kind {
            Kind::Plain(source) => return source.read(buffer),
            Kind::Gzip(decoder) => decoder.read(buffer),
            Kind::Xz(decoder) => decoder.read(buffer),
            Kind::Zstd(decoder) => decoder.read(buffer),
        }
        .map_err(|source| self.explained(source))
    }

    /// Tells a failure of the decoder from one of its input, which passes through it.
    fn explained(&self, source: io::Error) -> io::Error {
        let compression = self.compression;
        if source.raw_os_error().is_some() || source.kind() == io::ErrorKind::Interrupted {
            return source;
        }
        let lzma = source.get_ref().and_then(|inner| inner.downcast_ref::<liblzma::stream::Error>());
        if matches!(lzma, Some(liblzma::stream::Error::MemLimit)) {
            return invalid(CompressionError::Memory { compression, limit: XZ_MEMORY_BYTES });
        }
        invalid(CompressionError::Damaged { compression, source })
    }
}

fn invalid(error: CompressionError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.unpack(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                return Err(invalid(CompressionError::TooLarge {
                    compression: self.compression,
                    limit: self.limit,
                }));
            }
        }
        Ok(count)
    }
}
