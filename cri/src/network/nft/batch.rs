//! Requests that the kernel carries out together: all of them, or none.

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use nix::errno::Errno;

use crate::network::error::Error;
use crate::network::netlink::{Request, Socket};

/// How often a change is tried again that another one came between.
const TRIES: usize = 64;

/// A change to the rules.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    requests: Vec<Request>,
}

impl Batch {
    pub(crate) fn push(&mut self, request: Request) {
        self.requests.push(request);
    }

    pub(crate) fn extend(&mut self, requests: Vec<Request>) {
        self.requests.extend(requests);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Carries it out.
    ///
    /// # Errors
    /// The first refusal; nothing was changed then.
    pub(crate) fn run(&self, socket: &mut Socket) -> Result<(), Error> {
        for _ in 0..TRIES {
            match self.try_run(socket) {
                // Another change was under way, or a module was loaded meanwhile: nfnetlink_rcv_batch().
                Err(Error::Netlink {
                    errno: Errno::EAGAIN | Errno::ERESTART | Errno::EINTR | Errno::EBUSY, ..
                }) => {}
                other => return other,
            }
        }
        self.try_run(socket)
    }

    fn try_run(&self, socket: &mut Socket) -> Result<(), Error> {
        const BEGIN: u16 = 0x10; // NFNL_MSG_BATCH_BEGIN
        const END: u16 = 0x11; // NFNL_MSG_BATCH_END
        let Some(last) = self.requests.last() else { return Ok(()) };
        let frame = |kind| Request {
            kind,
            flags: 0,
            body: vec![0, 0, 0, 10], // NFNL_SUBSYS_NFTABLES in network order
            what: "NFNL_MSG_BATCH".to_owned(),
            fine: &[],
        };
        let mut packet = Vec::new();
        let first = socket.put(&mut packet, &frame(BEGIN), NLM_F_REQUEST);
        let mut end = first;
        for (index, request) in self.requests.iter().enumerate() {
            let acknowledge = if index + 1 == self.requests.len() { NLM_F_ACK } else { 0 };
            end = socket.put(&mut packet, request, NLM_F_REQUEST | acknowledge | request.flags);
        }
        socket.put(&mut packet, &frame(END), NLM_F_REQUEST);
        socket.send_large(&packet, &last.what)?;
        let mut refusal = None;
        let mut acknowledged = false;
        // The answers are all there. One that begins the batch comes after the others: the queue tells when it is empty.
        loop {
            let replies = match socket.receive(&last.what) {
                Err(Error::Netlink { errno: Errno::EAGAIN, .. }) => break,
                other => other?,
            };
            for reply in replies {
                if let Some((sequence, errno)) = reply.refusal(&last.what)? {
                    let index = sequence.wrapping_sub(first) as usize;
                    let request = index.checked_sub(1).and_then(|index| self.requests.get(index));
                    let what = request.map_or("NFNL_MSG_BATCH", |request| &request.what).to_owned();
                    refusal.get_or_insert(Error::Netlink { what, errno });
                } else if reply.acknowledges(end) {
                    acknowledged = true;
                }
            }
        }
        match refusal {
            Some(error) => Err(error),
            None if acknowledged => Ok(()),
            None => Err(Error::Answer { what: last.what.clone(), reason: "there is none" }),
        }
    }
}
