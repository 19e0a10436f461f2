//! Rules of others that stand in the way. They are only told about.

use crate::network::error::Error;
use crate::network::netlink::Socket;
use crate::network::nft::{Base, list_chains};

/// NF_INET_FORWARD.
const FORWARD: u32 = 2;

/// Sentences about chains that drop packets of containers because no rule of them accepts it.
pub(in crate::network) fn obstacles(own: &str) -> Result<Vec<String>, Error> {
    let replies = Socket::netfilter()?.dump(&list_chains())?;
    let chains = replies.iter().filter_map(Base::parse);
    let dropping = chains.filter(|chain| chain.hook == FORWARD && chain.drops && chain.table != own);
    Ok(dropping.map(|chain| told(&chain.name)).collect())
}

fn told(chain: &str) -> String {
    format!(
        "the firewall chain {chain} of this host drops what none of its rules accepts, which rules of rt cannot change: \
         allow packets from and to the bridges of networks there, or containers reach only each other and this host"
    )
}
