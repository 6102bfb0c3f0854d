//! Which proxy a request goes through: the one that the environment names, read as Go's programs read it
//! (`golang.org/x/net/http/httpproxy`), or the one that a kubeconfig names.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use reqwest::Url;

/// The proxies of the environment.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Result<Proxy, ProxyError>>,
    https: Option<Result<Proxy, ProxyError>>,
    direct: Vec<Direct>,
}

/// A proxy. Shown without its user and password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Proxy(Url);

/// Why a text does not name a usable proxy. The text is left out: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProxyError {
    /// It is not a URL.
    #[error("expected the URL of a proxy in {field}")]
    NotAUrl {
        /// Where it was found.
        field: &'static str,
        #[source]
        cause: <Url as std::str::FromStr>::Err,
    },
    /// Its scheme is not spoken here.
    #[error("expected an http, https, socks5 or socks5h proxy in {field}, found one of the scheme {scheme}")]
    Scheme {
        /// Where it was found.
        field: &'static str,
        scheme: String,
    },
}

/// What `NO_PROXY` takes out.
#[derive(Debug, Clone)]
enum Direct {
    Everything,
    Network(IpNet),
    /// Without a port on every one.
    Address(IpAddr, Option<String>),
    /// The names below a domain, which begins with a dot; with `itself` the domain too.
    Domain {
        below: String,
        itself: bool,
        port: Option<String>,
    },
}

impl Proxies {
    /// What `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say, or the same in lower case.
    pub fn from_environment() -> Proxies {
        Proxies::read(|name| std::env::var_os(name)?.into_string().ok())
    }

    /// As [`Proxies::from_environment`], with the variables of a caller's choice.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Proxies {
        let either = |name: &'static str| {
            [name.to_owned(), name.to_lowercase()]
                .iter()
                .find_map(|name| variable(name).filter(|text| !text.is_empty()))
        };
        let proxy = |name: &'static str| either(name).map(|text| Proxy::new(name, &text));
        let no_proxy = either("NO_PROXY").unwrap_or_default();
        Proxies {
            http: proxy("HTTP_PROXY"),
            https: proxy("HTTPS_PROXY"),
            direct: no_proxy.split(',').filter_map(Direct::read).collect(),
        }
    }

    /// Whether everything is reached directly.
    pub(super) fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    /// The proxy for a URL; `None` for a direct connection.
    ///
    /// # Errors
    /// The variable for this URL names something that is not a usable proxy.
    pub(super) fn proxy_for(&self, url: &Url) -> Result<Option<&Proxy>, ProxyError> {
        let proxy = match url.scheme() {
            "http" => &self.http,
            "https" => &self.https,
            _ => &None,
        };
        match proxy {
            Some(proxy) if !self.is_direct(url) => proxy.as_ref().map(Some).map_err(Clone::clone),
            _ => Ok(None),
        }
    }

    fn is_direct(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return true };
        let port = url.port_or_known_default().map(|port| port.to_string());
        let same_port = |wanted: &Option<String>| wanted.is_none() || *wanted == port;
        let address =
            host.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|address| address.to_canonical());
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.direct.iter().any(|direct| match direct {
            Direct::Everything => true,
            Direct::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Direct::Address(other, port) => address == Some(*other) && same_port(port),
            Direct::Domain { below, itself, port } => {
                address.is_none()
                    && (host.ends_with(below) || *itself && host == &below[1..])
                    && same_port(port)
            }
        })
    }
}

impl Direct {
    /// An entry of the list; `None` where Go reads nothing out of it either.
    fn read(entry: &str) -> Option<Direct> {
        let entry = entry.trim().to_lowercase();
        if entry == "*" {
            return Some(Direct::Everything);
        }
        if let Ok(network) = entry.parse::<IpNet>() {
            return Some(Direct::Network(network));
        }
        let (host, port) = match host_and_port(&entry) {
            Some((host, port)) => (host, Some(port.to_owned()).filter(|port| !port.is_empty())),
            None => (entry.as_str(), None),
        };
        if host.is_empty() {
            return None;
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Direct::Address(address.to_canonical(), port));
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let (host, itself) = host.strip_prefix('.').map_or((host, true), |host| (host, false));
        // A URL has its host in ASCII.
        let ascii =
            Url::parse(&format!("http://{host}")).ok().and_then(|url| url.host_str().map(str::to_owned));
        Some(Direct::Domain { below: format!(".{}", ascii.as_deref().unwrap_or(host)), itself, port })
    }
}

impl Proxy {
    /// A proxy by its URL, which may lack the `http://`. `field` is where it was found.
    ///
    /// # Errors
    /// Text that is not a URL, and a scheme that is not spoken here.
    pub(super) fn new(field: &'static str, text: &str) -> Result<Proxy, ProxyError> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&with_scheme).map_err(|cause| ProxyError::NotAUrl { field, cause })?;
        match url.scheme() {
            "http" | "https" | "socks5" | "socks5h" => Ok(Proxy(url)),
            other => Err(ProxyError::Scheme { field, scheme: other.to_owned() }),
        }
    }

    /// As reqwest takes it. Go leaves names to the proxy to resolve.
    pub(super) fn for_client(&self) -> Url {
        let mut url = self.0.clone();
        if url.scheme() == "socks5" {
            // Between schemes without rules of their own every change is allowed.
            let _ = url.set_scheme("socks5h");
        }
        url
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        let default = if self.0.scheme().starts_with("socks5") { Some(1080) } else { None };
        match self.0.port_or_known_default().or(default) {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The parts of `host:port` and `[address]:port`, as Go's `net.SplitHostPort` tells them apart.
fn host_and_port(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once("]:").filter(|(_, port)| !port.contains(':'));
    }
    text.split_once(':').filter(|(_, port)| !port.contains(':'))
}

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::read(|name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, text)| (*text).to_owned())
        })
    }

    fn proxy_for(variables: &[(&str, &str)], url: &str) -> String {
        match proxies(variables).proxy_for(&url.parse().expect("a URL")) {
            Ok(None) => "direct".to_owned(),
            Ok(Some(proxy)) => proxy.to_string(),
            Err(error) => serve::error_chain(&error),
        }
    }

    #[test]
    fn proxies_are_chosen_as_go_chooses_them() {
        const HTTP: &str = "HTTP_PROXY";
        const HTTPS: &str = "HTTPS_PROXY";
        let both = [(HTTP, "plain.proxy"), (HTTPS, "https://secure.proxy")];
        let rows = [
            (&[][..], "http://p.org", "direct"),
            (&[(HTTP, "10.1.1.1:3128")], "http://p.org", "http://10.1.1.1:3128"),
            (&[(HTTP, "cache.corp:3128")], "http://p.org", "http://cache.corp:3128"),
            (&[(HTTP, "cache.corp")], "http://p.org", "http://cache.corp:80"),
            (&[(HTTP, "cache")], "http://p.org", "http://cache:80"),
            (&[(HTTP, "https://cache.corp")], "http://p.org", "https://cache.corp:443"),
            (&[(HTTP, "socks5://cache.corp")], "http://p.org", "socks5://cache.corp:1080"),
            (&[(HTTP, "http://user:secret@cache.corp:8080/path")], "http://p.org", "http://cache.corp:8080"),
            (&[(HTTP, "")], "http://p.org", "direct"),
            (&[("http_proxy", "lower")], "http://p.org", "http://lower:80"),
            (&[(HTTP, "upper"), ("http_proxy", "lower")], "http://p.org", "http://upper:80"),
            (&[(HTTP, ""), ("http_proxy", "lower")], "http://p.org", "http://lower:80"),
            (&both, "http://p.org", "http://plain.proxy:80"),
            (&both, "https://p.org", "https://secure.proxy:443"),
            (&[(HTTP, "plain.proxy")], "https://p.org", "direct"),
            (&[("ALL_PROXY", "all.proxy")], "http://p.org", "direct"),
            // Nothing on this machine is reached through a proxy.
            (&both, "http://localhost:9090", "direct"),
            (&both, "http://LOCALHOST:9090", "direct"),
            (&both, "http://127.0.0.1:9090", "direct"),
            (&both, "http://127.9.8.7:9090", "direct"),
            (&both, "https://[::1]:9090", "direct"),
            (&both, "http://[::ffff:127.0.0.1]:9090", "direct"),
            (&both, "http://localhost.:9090", "http://plain.proxy:80"),
            (&both, "http://local.localhost", "http://plain.proxy:80"),
            (&both, "http://[::2]", "http://plain.proxy:80"),
            (
                &[(HTTP, "foo://cache")],
                "http://p.org",
                "expected an http, https, socks5 or socks5h proxy in HTTP_PROXY, found one of the scheme foo",
            ),
            (
                &[(HTTP, "http://user:secret@cache:port")],
                "http://p.org",
                "expected the URL of a proxy in HTTP_PROXY: invalid port number",
            ),
        ];
        each_row(rows, |(variables, url, expected)| {
            assert_eq!(proxy_for(variables, url), expected, "{variables:?} {url}");
        });
    }

    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        const LIST: &str = "shop.com, .below.net ,*.star.io,10.1.1.1,10.1.1.2:81,10.1.1.3:80,10.2.0.0/30,\
                            2001:db8::1,[2001:db8::2]:443,[2001:db8::3]:80,2002:db8:a::45/64,UPPER.org,port.org:8080,\
                            xn--fsq092h.com,.\u{4f8b}.org,:1,,a:b:c,[2001:db8::4]";
        let rows = [
            ("http://shop.com", true),
            ("http://www.shop.com", true),
            ("http://SHOP.com", true),
            ("http://workshop.com", false),
            ("http://shop.com.org", false),
            ("http://below.net", false),
            ("http://www.below.net", true),
            ("http://notbelow.net", false),
            ("http://star.io", false),
            ("http://a.star.io", true),
            ("http://a.b.star.io", true),
            ("http://astar.io", false),
            ("http://10.1.1.1:9090", true),
            ("http://[::ffff:10.1.1.1]:9090", true),
            ("http://10.1.1.2", false),
            ("http://10.1.1.2:81", true),
            ("http://10.1.1.3", true),
            ("http://10.1.1.3:81", false),
            ("http://10.1.1.4", false),
            ("http://10.2.0.3:9090", true),
            ("http://10.2.0.4:9090", false),
            ("http://[2001:db8::1]:9090", true),
            ("http://[2001:db8::2]", false),
            ("http://[2001:db8::2]:443", true),
            ("http://[2001:db8::3]", true),
            ("http://[2001:db8::4]", false),
            ("http://[2002:db8:a::123]", true),
            ("http://[fe80::1]", false),
            ("http://www.upper.org", true),
            ("http://port.org:8080", true),
            ("http://www.port.org:8080", true),
            ("http://port.org", false),
            ("http://www.\u{793a}\u{4f8b}.com", true),
            ("http://www.\u{4f8b}.org", true),
            ("http://\u{4f8b}.org", false),
        ];
        each_row(rows, |(url, direct)| {
            let found = proxy_for(&[("HTTP_PROXY", "proxy"), ("no_proxy", LIST)], url);
            assert_eq!(found, if direct { "direct" } else { "http://proxy:80" }, "{url}");
        });
        each_row(["http://10.9.9.9:9090", "http://p.org", "http://[2001:db8::9]"], |url| {
            assert_eq!(proxy_for(&[("HTTP_PROXY", "proxy"), ("NO_PROXY", "a, *")], url), "direct", "{url}");
        });
    }

    #[test]
    fn names_are_left_to_a_socks_proxy() {
        let url = |text| Proxy::new("HTTP_PROXY", text).expect("a proxy").for_client().to_string();
        assert_eq!(url("socks5://user:pass@cache:1081"), "socks5h://user:pass@cache:1081");
        assert_eq!(url("socks5h://cache"), "socks5h://cache");
        assert_eq!(url("http://cache"), "http://cache/");
    }
}
