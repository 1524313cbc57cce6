//! As much of HTTP/1.1 as a receiver in a test needs.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

/// What a client asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The next request of a connection; `None` when it was closed.
    pub(crate) fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(first) = line(stream)? else {
            return Ok(None);
        };
        let mut words = first.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let Some(header) = line(stream)? else {
                return Ok(None);
            };
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let body = if headers
            .get("transfer-encoding")
            .is_some_and(|how| how == "chunked")
        {
            chunked(stream)?
        } else {
            let bytes = headers
                .get("content-length")
                .map_or(Ok(0), |text| text.parse());
            exactly(stream, bytes.map_err(|_| io::ErrorKind::InvalidData)?)?
        };
        Ok(Some(Request {
            method,
            path,
            headers,
            body,
        }))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn exactly(stream: &mut impl Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; bytes];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn chunked(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        body.extend(exactly(stream, size)?);
        line(stream)?;
        if size == 0 {
            return Ok(body);
        }
    }
}
