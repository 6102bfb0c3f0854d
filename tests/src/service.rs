//! What kube-proxy does for a Service: each new connection goes to the next of the pods that run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::Failure;

/// A Service on loopback, until dropped.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Service {
    /// Starts one; `pods` says for each connection where the pods listen.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(pods: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Result<Service, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, Arc::new(pods)));
        Ok(Service { address, _task: AbortOnDropHandle::new(task) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, pods: Arc<dyn Fn() -> Vec<String> + Send + Sync>) {
    let next = AtomicUsize::new(0);
    loop {
        // A connection that failed before it was taken is its client's concern.
        let Ok((mut client, _)) = listener.accept().await else { continue };
        let pods = pods();
        if pods.is_empty() {
            continue;
        }
        let pod = pods[next.fetch_add(1, Ordering::Relaxed) % pods.len()].clone();
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(pod).await {
                // Ends when either side closes; an error is a close.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
