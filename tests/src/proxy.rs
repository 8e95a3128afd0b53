//! A TCP proxy on loopback whose connections a test can cut, as a bad network does: both ends stay
//! alive and can be reached again at once.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Forwards every connection to one address. Dropping it cuts what is open and refuses the rest.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    closing: AtomicBool,
    /// New connections are closed as well.
    is_broken: AtomicBool,
    accepted: AtomicUsize,
    /// Both ends of everything that was forwarded since the last cut.
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A proxy for `target`, on a port of its own.
    pub fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            target,
            closing: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            open: Mutex::new(Vec::new()),
        });
        let acceptor = thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        });
        Proxy { address, shared, acceptor: Some(acceptor) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that were forwarded so far, cut ones included.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Ends every open connection; new ones are forwarded again.
    pub fn cut(&self) {
        let mut open = self.shared.open.lock().expect("no panic elsewhere");
        for stream in open.drain(..) {
            // The end may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Proxy {
    /// Ends every open connection, and each new one as soon as it is made, until [`Proxy::mend`]:
    /// no evidence that the process behind is gone.
    pub fn break_off(&self) {
        self.shared.is_broken.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub fn mend(&self) {
        self.shared.is_broken.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.cut();
    }
}

fn accept(listener: &TcpListener, shared: &Shared) {
    for inbound in listener.incoming() {
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        // Who cannot be forwarded finds the connection closed, as with a target that is down.
        if let Ok(inbound) = inbound {
            let _ = forward(&inbound, shared);
        }
    }
}

fn forward(inbound: &TcpStream, shared: &Shared) -> io::Result<()> {
    let outbound = TcpStream::connect(shared.target)?;
    inbound.set_nodelay(true)?;
    outbound.set_nodelay(true)?;
    let mut open = shared.open.lock().expect("no panic elsewhere");
    if shared.is_broken.load(Ordering::SeqCst) {
        return Ok(());
    }
    for (from, to) in [(inbound, &outbound), (&outbound, inbound)] {
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        open.push(from.try_clone()?);
        thread::spawn(move || pump(from, to));
    }
    shared.accepted.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

/// Carries bytes one way until either end is closed, and closes the other with it.
fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
