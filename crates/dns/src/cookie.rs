//! Cookies, by which a client shows that it gets what is sent to its address (RFC 7873, in the form of
//! RFC 9018).

use crate::dnssec::KeyFault;
use domain::base::Serial;
use domain::base::opt::Cookie;
use domain::base::opt::cookie::{ServerCookie, StandardServerCookie};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fmt;
use std::net::IpAddr;

/// How long a cookie counts (RFC 9018 §4.3).
const VALID_SECONDS: u32 = 3600;
/// How far ahead of ours the clock of another server with the same secret may be (the same section).
const AHEAD_SECONDS: u32 = 300;
/// From what age on a client gets a new one.
const RENEWED_AFTER_SECONDS: u32 = 1800;

/// What cookies are made with.
#[derive(Clone)]
pub struct CookieSecret([u8; 16]);

/// What a client's cookie shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It was made here, for this address, lately.
    Ours,
    /// Nothing: it is the client's first, or too old, or not ours.
    Nothing,
}

impl CookieSecret {
    /// A secret of these octets. Servers that answer at one address share it.
    #[must_use]
    pub fn new(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// A secret that nobody else has.
    ///
    /// # Errors
    ///
    /// [`KeyFault::Randomness`].
    pub fn random() -> Result<Self, KeyFault> {
        let mut octets = [0; 16];
        let filled = SystemRandom::new().fill(&mut octets);
        filled.map_err(|_| KeyFault::Randomness)?;
        Ok(Self(octets))
    }

    pub(crate) fn check(&self, cookie: &Cookie, from: IpAddr, now_seconds: u32) -> Shown {
        let is_fresh = |made: Serial| age(made, now_seconds).is_some();
        match cookie.check_server_hash(from, &self.0, is_fresh) {
            true => Shown::Ours,
            false => Shown::Nothing,
        }
    }

    /// The cookie for the answer: the client's own if it is good for long, else a new one.
    pub(crate) fn renew(&self, cookie: &Cookie, from: IpAddr, now_seconds: u32) -> Cookie {
        let made = cookie.server().and_then(ServerCookie::try_to_standard);
        let is_young = made.is_some_and(|made| {
            age(made.timestamp(), now_seconds).is_some_and(|age| age < RENEWED_AFTER_SECONDS)
        });
        if is_young && self.check(cookie, from, now_seconds) == Shown::Ours {
            return cookie.clone();
        }
        let made =
            StandardServerCookie::calculate(cookie.client(), now_seconds.into(), from, &self.0);
        Cookie::new(cookie.client(), Some(made.into()))
    }
}

/// How old a cookie is; `None` outside of when it counts. Times are serial numbers (RFC 1982).
fn age(made: Serial, now_seconds: u32) -> Option<u32> {
    let age = now_seconds.wrapping_sub(made.into_int());
    match age {
        _ if age <= VALID_SECONDS => Some(age),
        _ if age.wrapping_neg() <= AHEAD_SECONDS => Some(0),
        _ => None,
    }
}

impl fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::base::opt::cookie::ClientCookie;

    const NOW: u32 = 1_900_000_000;

    fn first() -> Cookie {
        Cookie::new(ClientCookie::from_octets([7; 8]), None)
    }

    fn client() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    #[test]
    fn a_cookie_is_good_for_its_client_and_for_an_hour() {
        let secret = CookieSecret::new([1; 16]);
        assert_eq!(secret.check(&first(), client(), NOW), Shown::Nothing);
        let cookie = secret.renew(&first(), client(), NOW);
        assert_eq!(secret.check(&cookie, client(), NOW + 3600), Shown::Ours);
        assert_eq!(secret.check(&cookie, client(), NOW - 300), Shown::Ours);
        assert_eq!(secret.check(&cookie, client(), NOW + 3601), Shown::Nothing);
        assert_eq!(secret.check(&cookie, client(), NOW - 301), Shown::Nothing);
        let other = "192.0.2.2".parse().unwrap();
        assert_eq!(secret.check(&cookie, other, NOW), Shown::Nothing);
        let others = CookieSecret::new([2; 16]);
        assert_eq!(others.check(&cookie, client(), NOW), Shown::Nothing);
    }

    #[test]
    fn an_old_cookie_is_replaced_and_a_young_one_comes_back() {
        let secret = CookieSecret::new([1; 16]);
        let cookie = secret.renew(&first(), client(), NOW);
        assert_eq!(secret.renew(&cookie, client(), NOW + 10), cookie);
        assert_ne!(secret.renew(&cookie, client(), NOW + 1800), cookie);
    }

    /// RFC 9018 appendix A.1.
    #[test]
    fn the_published_example() {
        let secret = CookieSecret::new([
            0xe5, 0xe9, 0x73, 0xe5, 0xa6, 0xb2, 0xa4, 0x3f, 0x48, 0xe7, 0xdc, 0x84, 0x9e, 0x37,
            0xbf, 0xcf,
        ]);
        let client_cookie = [0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57];
        let client: IpAddr = "198.51.100.100".parse().unwrap();
        let first = Cookie::new(ClientCookie::from_octets(client_cookie), None);
        let made = secret.renew(&first, client, 1_559_731_985);
        assert_eq!(
            made.server().unwrap().as_ref(),
            [
                1, 0, 0, 0, 0x5c, 0xf7, 0x9f, 0x11, 0x1f, 0x81, 0x30, 0xc3, 0xee, 0xe2, 0x94, 0x80
            ]
        );
    }
}
