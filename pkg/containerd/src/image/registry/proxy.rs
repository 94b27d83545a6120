//! The proxy between this machine and a registry, from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` as
//! Go's programs read them: containerd, docker and k3s users have them set already. Pure but for
//! reading the environment.

use std::net::IpAddr;

use base64::Engine;
use http::{HeaderValue, Uri};
use kobune_runtime::{Error, Result};

/// The three settings.
#[derive(Clone, Default)]
pub struct Proxies {
    http: String,
    https: String,
    except: String,
}

impl std::fmt::Debug for Proxies {
    // A proxy's URL may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies")
            .field("except", &self.except)
            .finish_non_exhaustive()
    }
}

/// Where to connect to instead.
#[derive(Clone, PartialEq)]
pub(crate) struct Proxy {
    /// The proxy itself speaks TLS.
    pub(crate) secure: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `Proxy-Authorization`
    pub(crate) authorization: Option<HeaderValue>,
}

impl Proxies {
    /// A proxy for plain HTTP, one for HTTPS, and the hosts that are reached without; each may be empty.
    pub fn new(http: &str, https: &str, except: &str) -> Self {
        Self {
            http: http.trim().to_owned(),
            https: https.trim().to_owned(),
            except: except.to_ascii_lowercase(),
        }
    }

    /// From this process's variables; the names in capitals come first.
    pub fn from_environment() -> Self {
        let value = |name: &str| {
            [name.to_owned(), name.to_ascii_lowercase()]
                .iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
                .unwrap_or_default()
        };
        Self::new(&value("HTTP_PROXY"), &value("HTTPS_PROXY"), &value("NO_PROXY"))
    }

    /// The proxy for a host; `None`: it is reached directly.
    pub(crate) fn for_host(&self, secure: bool, host: &str, port: u16) -> Result<Option<Proxy>> {
        let (name, text) = if secure {
            ("HTTPS_PROXY", &self.https)
        } else {
            ("HTTP_PROXY", &self.http)
        };
        if text.is_empty() || self.is_direct(&host.to_ascii_lowercase(), port) {
            return Ok(None);
        }
        // Without the text: it may hold a password.
        Proxy::parse(text).map(Some).ok_or_else(|| Error::Config {
            message: format!("{name} is no URL of an http or https proxy"),
        })
    }

    fn is_direct(&self, host: &str, port: u16) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        let mut exceptions = self.except.split(',').map(str::trim);
        exceptions.any(|exception| matches(exception, host, address, port))
    }
}

/// One word of `NO_PROXY`: `*`, a range, an address, a domain (with all below it, or with a leading
/// dot only those below), the last two with a port or without.
fn matches(exception: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if exception == "*" {
        return true;
    }
    if let Some((network, bits)) = exception.split_once('/') {
        let (Ok(network), Ok(bits)) = (network.parse(), bits.parse()) else {
            return false;
        };
        return address.is_some_and(|address| is_within(address, network, bits));
    }
    let (name, wanted) = split_port(exception);
    if name.is_empty() || wanted.is_some_and(|wanted| wanted != port) {
        return false;
    }
    if let Ok(excepted) = name.parse::<IpAddr>() {
        return address == Some(excepted);
    }
    let name = name
        .strip_prefix('*')
        .filter(|rest| rest.starts_with('.'))
        .unwrap_or(name);
    match name.starts_with('.') {
        true => host.ends_with(name),
        false => host
            .strip_suffix(name)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
    }
}

fn split_port(text: &str) -> (&str, Option<u16>) {
    if let Some((name, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (name, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match text.split_once(':') {
        // More than one colon: an address of IPv6.
        Some((name, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            let shift = 32 - bits;
            u64::from(u32::from(address)) >> shift == u64::from(u32::from(network)) >> shift
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(address) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

impl Proxy {
    /// `[http[s]://][user:password@]host[:port]`
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next()?;
        let (account, address) = match authority.rsplit_once('@') {
            Some((account, address)) => (Some(account), address),
            None => (None, authority),
        };
        let uri: Uri = format!("{scheme}://{address}/").parse().ok()?;
        let host = uri.host().filter(|host| !host.is_empty())?;
        Some(Self {
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authorization: match account {
                Some(account) => Some(basic(account)?),
                None => None,
            },
        })
    }
}

fn basic(account: &str) -> Option<HeaderValue> {
    let pair = decoded(account)?;
    let pair = if pair.contains(&b':') {
        pair
    } else {
        [pair, vec![b':']].concat()
    };
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Without the `%xx` of URLs.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push((high * 16 + low) as u8);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_direct(except: &str, host: &str, port: u16) -> bool {
        let proxies = Proxies::new("", "proxy:3128", except);
        proxies.for_host(true, host, port).unwrap().is_none()
    }

    #[test]
    fn the_machine_itself_is_never_asked_through_a_proxy() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1"] {
            assert!(goes_direct("", host, 443), "{host}");
        }
        assert!(!goes_direct("", "registry.example", 443));
    }

    #[test]
    fn an_exception_is_a_domain_an_address_a_range_or_all() {
        for (except, host, direct) in [
            ("example.com", "example.com", true),
            ("example.com", "a.b.example.com", true),
            ("example.com", "badexample.com", false),
            (".example.com", "example.com", false),
            (".example.com", "a.example.com", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("Example.COM", "EXAMPLE.com", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("fd00::/8", "fd12::1", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("a.b, 10.1.2.3:443", "10.1.2.3", true),
            ("10.1.2.3:80", "10.1.2.3", false),
            ("example.com:80", "example.com", false),
            ("[fd12::1]:443", "fd12::1", true),
            ("*", "anything", true),
            (", ,", "anything", false),
        ] {
            assert_eq!(goes_direct(except, host, 443), direct, "{except:?} and {host}");
        }
    }

    #[test]
    fn plain_and_secure_requests_have_proxies_of_their_own() {
        let proxies = Proxies::new("http://plain", "https://me:p%40ss@secure:8443/", "");
        let plain = proxies.for_host(false, "r", 80).unwrap().unwrap();
        assert_eq!(
            (plain.host.as_str(), plain.port, plain.secure),
            ("plain", 80, false)
        );
        assert_eq!(plain.authorization, None);
        let secure = proxies.for_host(true, "r", 443).unwrap().unwrap();
        assert_eq!(
            (secure.host.as_str(), secure.port, secure.secure),
            ("secure", 8443, true)
        );
        assert_eq!(secure.authorization.unwrap(), "Basic bWU6cEBzcw==");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_without_showing_its_password() {
        let proxies = Proxies::new("socks5://me:secret@proxy:1080", "", "");
        let Err(error) = proxies.for_host(false, "r", 80) else {
            panic!("refused")
        };
        assert!(error.to_string().contains("HTTP_PROXY"), "{error}");
        assert!(!format!("{error} {error:?} {proxies:?}").contains("secret"));
    }
}
