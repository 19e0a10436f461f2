//! PortForward.

use cri::streaming::spdy::Fin;
use proto::v1::{NamespaceMode, PortForwardRequest};
use tests::pods::{container, namespaces_of, pod};
use tests::{Rtd, needs, pod_test};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::client::Spdy;

async fn url(rtd: &mut Rtd<'_>, id: &str, port: &[i32]) -> Result<String, Status> {
    let request = PortForwardRequest { pod_sandbox_id: id.to_owned(), port: port.to_vec() };
    Ok(rtd.runtime.port_forward(request).await?.into_inner().url)
}

/// A connection through the pod: what its server says until it hangs up, and what went wrong.
async fn through(client: &mut Spdy, number: u32, port: u16, text: &str) {
    let (id, port) = (number.to_string(), port.to_string());
    for kind in ["error", "data"] {
        client.open(kind, &[("port", &port), ("requestid", &id)]).await;
    }
    client.send(&format!("data{number}"), text, Fin::Last).await;
}

/// On the node's network the ports are the node's. IPv6 is tried where nobody listens on IPv4.
#[test]
fn the_nodes_network() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let mut ports = Vec::new();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            ports.push(listener.local_addr().unwrap().port());
            tokio::spawn(async move {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut text = String::new();
                socket.read_to_string(&mut text).await.unwrap();
                socket.write_all(text.to_uppercase().as_bytes()).await.unwrap();
            });
        }
        let address = url(rtd, &id, &[]).await.unwrap();
        let mut client = Spdy::connect(&address, "portforward.k8s.io").await;
        through(&mut client, 0, ports[0], "one").await;
        through(&mut client, 1, ports[1], "two").await;
        through(&mut client, 2, 1, "nobody").await;
        client.until("data0", "ONE").await;
        client.until("data1", "TWO").await;
        client.until("error2", "refused").await;
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// A server that listens on the pod's loopback alone is reached, by many connections.
#[test]
fn the_pods_network() {
    pod_test(async |rtd| {
        needs!(rtd.test, tests::has_networks(), "no bridges or nftables here");
        let mut config = pod("web");
        namespaces_of(&mut config).network = NamespaceMode::Pod as i32;
        let id = rtd.run(&config).await.unwrap();
        let mut wanted = container("one", "httpd -p 127.0.0.1:8080 -h /; echo up > /tmp/up; sleep 1000");
        wanted.linux.as_mut().unwrap().security_context.as_mut().unwrap().namespace_options.as_mut().unwrap().network =
            NamespaceMode::Pod as i32;
        let one = rtd.create(&id, &wanted, &config).await.unwrap();
        rtd.start(&one).await.unwrap();
        rtd.exec(&one, "until [ -f /tmp/up ]; do usleep 1000; done").await.unwrap();
        let address = url(rtd, &id, &[8080]).await.unwrap();
        let mut client = Spdy::connect(&address, "portforward.k8s.io").await;
        // Its queue takes nine that are not accepted yet.
        for five in 0..10 {
            let numbers = || five * 5..five * 5 + 5;
            for number in numbers() {
                through(&mut client, number, 8080, "GET /etc/passwd HTTP/1.0\r\n\r\n").await;
            }
            for number in numbers() {
                client.until(&format!("data{number}"), "root:x:0:0").await;
            }
        }
        drop(client);
        rtd.stop_pod(&id).await.unwrap();
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn what_is_refused() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        assert_eq!(url(rtd, &id, &[70000]).await.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(url(rtd, "", &[]).await.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(url(rtd, &"0".repeat(64), &[]).await.unwrap_err().code(), Code::NotFound);
        rtd.stop_pod(&id).await.unwrap();
        assert_eq!(url(rtd, &id, &[]).await.unwrap_err().code(), Code::FailedPrecondition);
        rtd.remove_pod(&id).await.unwrap();
    });
}
