//! The one way in which this program makes HTTP clients.

/// A client that resolves names by itself: a static program in an image without a C library has no other resolver it can
/// count on. Proxies of the environment are for people's tools, not for traffic inside a cluster.
#[must_use]
pub fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().hickory_dns(true).no_proxy()
}
