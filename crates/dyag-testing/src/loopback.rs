//! A server on this machine that says what a test tells it to say, and remembers what it was asked.
//!
//! ```no_run
//! use dyag_testing::{Loopback, ScriptedReply};
//!
//! // One reply for each request, in order; requests after the last reply get the status 418.
//! let server = Loopback::start([ScriptedReply::status(429, "slow down").header("Retry-After", "1"), ScriptedReply::json("{}")]);
//! // ... something sends requests to server.url() ...
//! assert_eq!(server.requests()[0].header("content-type"), Some("application/json"));
//! ```
//!
//! Each connection serves one request and is closed. A server ends, whatever it is waiting for, when it is dropped.

use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRequest {
    /// Such as `POST`.
    pub method: String,
    /// Path and query, such as `/v1/messages`.
    pub path: String,
    /// Names and values in their order.
    pub headers: Vec<(String, String)>,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
}

impl RecordedRequest {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What the server does with one request.
#[derive(Clone, Debug)]
pub struct ScriptedReply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
    sent_bytes: Option<usize>,
    bytes_per_second: Option<u64>,
}

impl ScriptedReply {
    /// A status and a text.
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), delay: Duration::ZERO, sent_bytes: None, bytes_per_second: None }
    }

    /// Status 200 and JSON.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200, body).header("Content-Type", "application/json")
    }

    /// Closes the connection without a word.
    pub fn closed() -> Self {
        Self::status(200, "").truncated(0)
    }

    /// With one more header. The server itself adds `Content-Length` and `Connection`.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits before it replies.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Promises the whole reply in its headers, and closes the connection after so many bytes of headers and body together.
    pub fn truncated(mut self, sent_bytes: usize) -> Self {
        self.sent_bytes = Some(sent_bytes);
        self
    }

    /// Sends no faster than that, in small parts.
    pub fn paced(mut self, bytes_per_second: u64) -> Self {
        self.bytes_per_second = Some(bytes_per_second.max(1));
        self
    }

    /// Sends the headers and so many bytes of the body, and closes the connection.
    pub fn cut(self, body_bytes: usize) -> Self {
        let sent = self.head().len() + body_bytes;
        self.truncated(sent)
    }

    /// Sends the headers and half of the body, and closes the connection.
    pub fn half(self) -> Self {
        let sent = self.head().len() + self.body.len() / 2;
        self.truncated(sent)
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", self.body.len()));
        head.into_bytes()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes.truncate(self.sent_bytes.unwrap_or(usize::MAX));
        bytes
    }
}

type Respond = Box<dyn FnMut(&RecordedRequest) -> ScriptedReply + Send>;

/// A running server.
pub struct Loopback {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    requests: Mutex<Vec<RecordedRequest>>,
    sent_body_bytes: AtomicU64,
    respond: Mutex<Respond>,
    stopped: AtomicBool,
}

impl Loopback {
    /// A server that gives these replies, one a request, in the order in which requests arrive; afterwards the status 418.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub fn start(replies: impl IntoIterator<Item = ScriptedReply>) -> Self {
        let mut replies = replies.into_iter().collect::<Vec<_>>().into_iter();
        Self::answering(move |_| replies.next().unwrap_or_else(|| ScriptedReply::status(418, "the script is over")))
    }

    /// A server whose replies depend on the requests.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub fn answering(respond: impl FnMut(&RecordedRequest) -> ScriptedReply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            sent_body_bytes: AtomicU64::new(0),
            respond: Mutex::new(Box::new(respond)),
            stopped: AtomicBool::new(false),
        });
        let of_acceptor = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            let mut open = Vec::new();
            for connection in listener.incoming() {
                if of_acceptor.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(connection) = connection else { continue };
                let shared = Arc::clone(&of_acceptor);
                // A client that goes away is no fault of the server's.
                open.push(thread::spawn(move || drop(shared.serve(connection))));
            }
            for connection in open {
                let _ = connection.join();
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// So many bytes of bodies were given to connections so far.
    pub fn sent_body_bytes(&self) -> u64 {
        self.shared.sent_body_bytes.load(Ordering::SeqCst)
    }

    /// Everything that was asked so far, in order.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // The acceptor waits for a connection: it gets one.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut connection: TcpStream) -> io::Result<()> {
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        let request = read_request(&mut BufReader::new(&connection))?;
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let reply = (self.respond.lock().unwrap_or_else(PoisonError::into_inner))(&request);
        let start = Instant::now();
        while start.elapsed() < reply.delay && !self.stopped.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5).min(reply.delay));
        }
        let (bytes, head) = (reply.bytes(), reply.head().len());
        let bytes = if request.method == "HEAD" { &bytes[..bytes.len().min(head)] } else { &bytes };
        self.send(&mut connection, bytes, head, reply.bytes_per_second)?;
        connection.flush()?;
        connection.shutdown(Shutdown::Write)
    }

    /// Sends headers, then the body: at once, or in parts with pauses between.
    fn send(&self, connection: &mut TcpStream, bytes: &[u8], head: usize, bytes_per_second: Option<u64>) -> io::Result<()> {
        let (head, body) = bytes.split_at(bytes.len().min(head));
        connection.write_all(head)?;
        let part = bytes_per_second.map_or(1 << 20, |rate| (rate / 100).clamp(1, 1 << 16) as usize);
        let start = Instant::now();
        let mut sent = 0;
        for part in body.chunks(part) {
            if let Some(rate) = bytes_per_second {
                let due = Duration::from_secs_f64(sent as f64 / rate as f64);
                while start.elapsed() < due && !self.stopped.load(Ordering::SeqCst) {
                    thread::sleep(due.saturating_sub(start.elapsed()).min(Duration::from_millis(10)));
                }
            }
            if self.stopped.load(Ordering::SeqCst) {
                break;
            }
            connection.write_all(part)?;
            sent += part.len();
            self.sent_body_bytes.fetch_add(part.len() as u64, Ordering::SeqCst);
        }
        Ok(())
    }
}

fn read_request(input: &mut impl BufRead) -> io::Result<RecordedRequest> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not a request");
    let mut line = String::new();
    input.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().ok_or_else(wrong)?.to_owned(), words.next().ok_or_else(wrong)?.to_owned());
    let mut headers = Vec::new();
    loop {
        line.clear();
        input.read_line(&mut line)?;
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(wrong)?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let mut request = RecordedRequest { method, path, headers, body: String::new() };
    let length = request.header("content-length").and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Ok(request)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn ask(server: &Loopback, body: &str) -> String {
        let mut stream = TcpStream::connect(server.address).expect("connects");
        write!(stream, "POST /a?b=1 HTTP/1.1\r\nX-Name: v:w\r\ncontent-length: {}\r\n\r\n{body}", body.len()).expect("sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        reply
    }

    #[test]
    fn replies_come_in_order_and_requests_are_kept() {
        let server =
            Loopback::start([ScriptedReply::json("{\"a\": 1}").header("X-Other", "2"), ScriptedReply::status(500, "abcdef").half()]);
        let first = ask(&server, "é");
        assert!(first.starts_with("HTTP/1.1 200 ") && first.contains("X-Other: 2\r\n") && first.ends_with("{\"a\": 1}"), "{first}");
        let second = ask(&server, "");
        assert!(second.contains("Content-Length: 6\r\n") && second.ends_with("\r\nabc"), "{second}");
        assert!(ask(&server, "").starts_with("HTTP/1.1 418 "));
        let requests = server.requests();
        assert_eq!(requests.len(), 3);
        assert_eq!((requests[0].method.as_str(), requests[0].path.as_str(), requests[0].body.as_str()), ("POST", "/a?b=1", "é"));
        assert_eq!(requests[0].header("x-name"), Some("v:w"));
    }

    #[test]
    fn a_server_that_hangs_ends_when_it_is_dropped() {
        let server = Loopback::start([ScriptedReply::json("{}").after(Duration::from_secs(3600))]);
        let mut stream = TcpStream::connect(server.address).expect("connects");
        write!(stream, "GET / HTTP/1.1\r\n\r\n").expect("sent");
        while server.requests().is_empty() {
            thread::sleep(Duration::from_millis(2));
        }
        let start = Instant::now();
        drop(server);
        assert!(start.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_reply_may_be_no_reply() {
        let server =
            Loopback::answering(|request| if request.path == "/a?b=1" { ScriptedReply::closed() } else { ScriptedReply::json("") });
        assert_eq!(ask(&server, ""), "");
    }
}
