//! The command line: subcommands and flags, with k3s' names and meaning.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::values::{Cidr, FileMode, NodeLabel, NodeTaint, PortRange, ipv4, node_name};

/// A whole Kubernetes in one binary.
#[derive(Debug, Parser)]
#[command(name = "kobune", version = crate::version::LINE, args_override_self = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a server: the control plane, and a node unless --disable-agent is given
    Server(Box<ServerArgs>),
    /// Pull, import, list, remove and export images of this node
    Image(ImageArgs),
    /// Print a kubeconfig of the cluster's administrator
    Kubeconfig(KubeconfigArgs),
    /// Check whether this machine can run kobune, and say what to do where it cannot
    CheckConfig(CheckConfigArgs),
    /// Remove all pods, their network and all state of a stopped server
    Reset(ResetArgs),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the versions of kobune and of Kubernetes
    Version,
}

/// Flags of `kobune server`.
#[derive(Debug, Clone, Args)]
#[command(args_override_self = true)]
pub struct ServerArgs {
    /// Read flags from this YAML file, and from the files in its folder with .d added
    #[arg(
        long,
        short = 'c',
        default_value = "/etc/kobune/config.yaml",
        value_name = "FILE"
    )]
    pub config: PathBuf,
    /// Keep all state in this folder
    #[arg(long, short = 'd', default_value = "/var/lib/kobune", value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// Listen on this address only (default: all); pods reach a server on a loopback one by their gateway
    #[arg(long, value_name = "ADDRESS", value_parser = ipv4)]
    pub bind_address: Option<Ipv4Addr>,
    /// Serve the API on this port
    #[arg(long, default_value_t = 6443, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub https_listen_port: u16,
    /// The address under which others reach the API (default: the node's address)
    #[arg(long, value_name = "ADDRESS", value_parser = ipv4)]
    pub advertise_address: Option<Ipv4Addr>,
    /// Further names or addresses in the API's certificate
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub tls_san: Vec<String>,
    /// Write the administrator's kubeconfig to this file
    #[arg(
        long,
        short = 'o',
        default_value = "/etc/kobune/kobune.yaml",
        value_name = "FILE"
    )]
    pub write_kubeconfig: PathBuf,
    /// ... with this mode
    #[arg(long, default_value = "600", value_name = "MODE")]
    pub write_kubeconfig_mode: FileMode,
    /// Give pods addresses of this range
    #[arg(long, default_value = "10.42.0.0/16", value_name = "RANGE")]
    pub cluster_cidr: Cidr,
    /// Give Services addresses of this range
    #[arg(long, default_value = "10.43.0.0/16", value_name = "RANGE")]
    pub service_cidr: Cidr,
    /// The cluster DNS' address (default: the tenth of --service-cidr)
    #[arg(long, value_name = "ADDRESS", value_parser = ipv4)]
    pub cluster_dns: Option<Ipv4Addr>,
    /// The cluster's DNS domain
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN", value_parser = node_name)]
    pub cluster_domain: String,
    /// Ports for Services of type NodePort
    #[arg(long, default_value = "30000-32767", value_name = "LOW-HIGH")]
    pub service_node_port_range: PortRange,
    /// The node's name (default: this machine's)
    #[arg(long, value_name = "NAME", value_parser = node_name)]
    pub node_name: Option<String>,
    /// The node's address (default: that of the default route)
    #[arg(long, short = 'i', value_name = "ADDRESS", value_parser = ipv4)]
    pub node_ip: Option<Ipv4Addr>,
    /// Labels for the node
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    pub node_label: Vec<NodeLabel>,
    /// Taints for the node
    #[arg(long, value_name = "KEY=VALUE:EFFECT", value_delimiter = ',')]
    pub node_taint: Vec<NodeTaint>,
    /// Run the control plane only, no node
    #[arg(long)]
    pub disable_agent: bool,
    /// Do without these built-in parts
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = ["dns", "coredns"])]
    pub disable: Vec<String>,
    /// Use the containerd on this socket instead of a private one
    #[arg(long, value_name = "SOCKET")]
    pub container_runtime_endpoint: Option<String>,
    /// Registry mirrors and credentials
    #[arg(long, default_value = "/etc/kobune/registries.yaml", value_name = "FILE")]
    pub private_registry: PathBuf,
    /// Write the log to this file instead of to standard error
    #[arg(long, short = 'l', value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// How much to log: 0 is information, from 4 on debugging, from 7 on everything
    #[arg(short = 'v', long = "v", default_value_t = 0, value_name = "LEVEL")]
    pub verbosity: u8,
}

/// Which of a machine's servers a subcommand is about: found as the server itself finds its flags.
#[derive(Debug, Clone, Args)]
pub struct WhichServer {
    /// The server's configuration file; of its flags those count that this command has too
    #[arg(
        long,
        short = 'c',
        default_value = "/etc/kobune/config.yaml",
        global = true,
        value_name = "FILE"
    )]
    pub config: PathBuf,
    /// The server's state folder
    #[arg(
        long,
        short = 'd',
        default_value = "/var/lib/kobune",
        global = true,
        value_name = "FOLDER"
    )]
    pub data_dir: PathBuf,
}

/// Arguments of `kobune image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// Which server's node
    #[command(flatten)]
    pub server: WhichServer,
    /// The containerd to use (default: the one that the server uses)
    #[arg(long, global = true, value_name = "SOCKET")]
    pub container_runtime_endpoint: Option<String>,
    /// Registry mirrors and credentials
    #[arg(
        long,
        default_value = "/etc/kobune/registries.yaml",
        global = true,
        value_name = "FILE"
    )]
    pub private_registry: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// What can be done with images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Fetch an image from its registry
    Pull {
        /// For example nginx:1.27
        reference: String,
        /// User name and password for the registry
        #[arg(long, value_name = "USER:PASSWORD")]
        creds: Option<String>,
    },
    /// Read images from OCI or docker-archive tars (- is standard input)
    Import {
        /// The tars
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List the images
    #[command(visible_alias = "ls")]
    List {
        /// Print image ids only
        #[arg(long, short = 'q')]
        quiet: bool,
    },
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm {
        /// References or ids
        #[arg(required = true)]
        references: Vec<String>,
    },
    /// Write images to an OCI tar
    Export {
        /// The tar (- is standard output)
        #[arg(long, short = 'o', default_value = "-")]
        output: PathBuf,
        /// References or ids
        #[arg(required = true)]
        references: Vec<String>,
    },
}

/// Arguments of `kobune kubeconfig`.
#[derive(Debug, Args)]
pub struct KubeconfigArgs {
    /// Which server
    #[command(flatten)]
    pub server: WhichServer,
    /// Where clients reach the API (default: where those of this machine do)
    #[arg(long = "server", value_name = "URL")]
    pub url: Option<String>,
    /// Name of the cluster, the user and the context
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub context: String,
    /// Make a certificate for this user instead of the administrator's
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// ... who is in these groups
    #[arg(long, value_name = "NAME", requires = "user", value_delimiter = ',')]
    pub group: Vec<String>,
}

/// Arguments of `kobune check-config`.
#[derive(Debug, Args)]
pub struct CheckConfigArgs {
    /// The server that is to run, or runs
    #[command(flatten)]
    pub server: WhichServer,
    /// The port that will be used
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    pub https_listen_port: u16,
    /// The containerd that will be used (default: a private one)
    #[arg(long, value_name = "SOCKET")]
    pub container_runtime_endpoint: Option<String>,
    /// Parts that will be done without
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub disable: Vec<String>,
}

/// Arguments of `kobune reset`.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Which server
    #[command(flatten)]
    pub server: WhichServer,
    /// The containerd with the pods, if it is not kobune's own (default: the one that the server used)
    #[arg(long, value_name = "SOCKET")]
    pub container_runtime_endpoint: Option<String>,
    /// Do it without asking
    #[arg(long)]
    pub yes: bool,
    /// Keep the state folder: end the pods and remove their network only
    #[arg(long)]
    pub keep_data: bool,
}
