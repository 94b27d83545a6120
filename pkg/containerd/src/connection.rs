//! The connection to containerd: one HTTP/2 channel over its socket, shared by every client.
//!
//! **Invariant**: every request carries the namespace; a request that makes content or snapshots
//! carries a lease too. The channel reconnects by itself, so a [`Connection`] is never replaced.

use std::path::{Path, PathBuf};

use containerd_client::services::v1::{
    containers_client::ContainersClient, content_client::ContentClient, diff_client::DiffClient,
    events_client::EventsClient, images_client::ImagesClient, introspection_client::IntrospectionClient,
    leases_client::LeasesClient, namespaces_client::NamespacesClient,
    snapshots::snapshots_client::SnapshotsClient, tasks_client::TasksClient, version_client::VersionClient,
};
use hyper_util::rt::TokioIo;
use kobune_runtime::{Error, Result};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

/// Lists of containers with their specs can be large.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// A channel that names the namespace (and the lease) of each request.
pub(crate) type Scoped = InterceptedService<Channel, Scope>;

/// What is written into each request's metadata.
#[derive(Clone)]
pub(crate) struct Scope {
    namespace: MetadataValue<Ascii>,
    lease: Option<MetadataValue<Ascii>>,
}

impl tonic::service::Interceptor for Scope {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("containerd-namespace", self.namespace.clone());
        if let Some(lease) = &self.lease {
            metadata.insert("containerd-lease", lease.clone());
        }
        Ok(request)
    }
}

/// A channel to one containerd, in one namespace, perhaps under a lease. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connection {
    channel: Channel,
    scope: Scope,
    socket: PathBuf,
    namespace: String,
}

macro_rules! clients {
    ($($name:ident: $client:ident),* $(,)?) => {
        $(pub(crate) fn $name(&self) -> $client<Scoped> {
            $client::with_interceptor(self.channel.clone(), self.scope.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
        })*
    };
}

impl Connection {
    /// A connection that is made when it is first used, and made anew after it broke.
    pub(crate) fn new(socket: &Path, namespace: &str) -> Result<Self> {
        let value = MetadataValue::try_from(namespace).map_err(|error| {
            Error::other(format!("reading the containerd namespace {namespace:?}"), error)
        })?;
        let path = socket.to_path_buf();
        // containerd looks at the socket only; a URI has to be there all the same.
        let channel = Endpoint::from_static("http://containerd").connect_with_connector_lazy(
            tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
            }),
        );
        Ok(Self {
            channel,
            scope: Scope {
                namespace: value,
                lease: None,
            },
            socket: socket.to_path_buf(),
            namespace: namespace.to_owned(),
        })
    }

    /// The same connection; what its requests make is kept by `lease`.
    pub(crate) fn under_lease(&self, lease: &str) -> Self {
        let mut scoped = self.clone();
        scoped.scope.lease = MetadataValue::try_from(lease).ok();
        scoped
    }

    /// The socket it leads to.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// containerd's namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    clients! {
        containers: ContainersClient, content: ContentClient, diff: DiffClient, events: EventsClient,
        images: ImagesClient, introspection: IntrospectionClient, leases: LeasesClient,
        namespaces: NamespacesClient, snapshots: SnapshotsClient, tasks: TasksClient, version: VersionClient,
    }
}

/// Turns a gRPC answer into our error, with what was being done.
pub(crate) fn failed(doing: impl Into<String>) -> impl FnOnce(Status) -> Error {
    let doing = doing.into();
    move |status| match status.code() {
        Code::NotFound => Error::NotFound {
            what: format!("{doing}: {}", status.message()),
        },
        Code::Unavailable => Error::Unavailable {
            message: format!("{doing}: {}", status.message()),
        },
        _ => Error::Other {
            doing,
            source: Box::new(Failure::from(status)),
        },
    }
}

/// containerd's words without gRPC's dressing.
#[derive(Debug, thiserror::Error)]
#[error("{message} ({code:?})")]
pub(crate) struct Failure {
    code: Code,
    message: String,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self {
            code: status.code(),
            message: status.message().to_owned(),
        }
    }
}

/// What was asked to be made is there, or what was asked to be gone is gone.
pub(crate) trait Idempotent {
    /// "Already exists" is success.
    fn or_exists(self) -> Result<(), Status>;
    /// "Not found" is success.
    fn or_gone(self) -> Result<(), Status>;
}

impl<T> Idempotent for Result<T, Status> {
    fn or_exists(self) -> Result<(), Status> {
        match self {
            Err(status) if status.code() != Code::AlreadyExists => Err(status),
            _ => Ok(()),
        }
    }

    fn or_gone(self) -> Result<(), Status> {
        match self {
            Err(status) if status.code() != Code::NotFound => Err(status),
            _ => Ok(()),
        }
    }
}
