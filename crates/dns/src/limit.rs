//! How many answers of a kind one network is sent, so that nobody is flooded through this server.
//!
//! Whoever forges a victim's address gets answers sent to it. Answers of one kind to one network are
//! therefore counted (as response-rate limiting does in BIND, NSD and Knot): beyond the rate, every
//! second one is sent truncated, so that a real client behind the address asks again over TCP, which
//! can't be forged, and the others not at all. A client that has shown a cookie of ours is no forgery
//! and isn't counted (RFC 7873 §5.2).
//!
//! Counts are in a fixed table: a flood from many networks makes the counting coarse, not the memory
//! large. Two networks that share a place push each other out, towards answering.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

const PLACES: usize = 1 << 14;

/// What is done with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// It is sent.
    Sent,
    /// It is sent without records, marked as truncated.
    Truncated,
    /// It isn't sent.
    Dropped,
}

/// Of which kind an answer is: those of one kind count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind<'a> {
    /// A name's records.
    Records(&'a [u8]),
    /// Names of a zone that aren't there, lack the type, or are made by a wildcard: one count, since
    /// there is no end of them.
    Endless(&'a [u8]),
    /// Errors.
    Error,
}

/// Counts answers.
#[derive(Debug)]
pub struct Limiter {
    /// Answers a second that are sent; 0: all.
    rate: u32,
    limits_loopback: bool,
    places: Vec<Place>,
    hash: RandomState,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: u64,
    /// Thousandths of an answer that may still be sent.
    allowance: u32,
    at_ms: u32,
    /// Turns with each answer that isn't sent whole.
    turn: bool,
}

impl Limiter {
    /// Lets so many answers of a kind go to a network (an IPv4 /24, an IPv6 /56) in a second, and as
    /// many at once; 0 for no limit. Loopback is exempt unless said otherwise.
    #[must_use]
    pub fn new(rate: u32, limits_loopback: bool) -> Self {
        Self {
            rate,
            limits_loopback,
            places: vec![Place::default(); if rate == 0 { 0 } else { PLACES }],
            hash: RandomState::new(),
        }
    }

    /// What becomes of an answer of this kind to this address; `now_ms` counts from any moment.
    pub fn count(&mut self, to: IpAddr, kind: Kind<'_>, now_ms: u32) -> Limited {
        if self.rate == 0 || (to.is_loopback() && !self.limits_loopback) {
            return Limited::Sent;
        }
        let key = self.hash.hash_one((network(to), kind));
        let place = &mut self.places[key as usize % PLACES];
        let full = self.rate.saturating_mul(1000);
        if place.key != key {
            *place = Place {
                key,
                allowance: full,
                at_ms: now_ms,
                turn: false,
            };
        }
        let elapsed_ms = now_ms.wrapping_sub(place.at_ms);
        let refill = elapsed_ms.saturating_mul(self.rate);
        place.allowance = place.allowance.saturating_add(refill).min(full);
        place.at_ms = now_ms;
        if place.allowance >= 1000 {
            place.allowance -= 1000;
            return Limited::Sent;
        }
        place.turn = !place.turn;
        if place.turn {
            Limited::Truncated
        } else {
            Limited::Dropped
        }
    }
}

/// To whom an answer goes. It is asked once for each answer, as soon as it is known of which kind that
/// is: what is kept back is neither copied nor signed.
pub(crate) struct Account<'l> {
    limiter: Option<&'l mut Limiter>,
    to: IpAddr,
    now_ms: u32,
}

impl<'l> Account<'l> {
    /// Of a client that is counted.
    pub(crate) fn of(limiter: &'l mut Limiter, to: IpAddr, now_ms: u32) -> Self {
        Self {
            limiter: Some(limiter),
            to,
            now_ms,
        }
    }

    /// The same client, if it may be forged; else all answers are sent.
    pub(crate) fn unless(mut self, trusted: bool) -> Self {
        self.limiter = self.limiter.filter(|_| !trusted);
        self
    }

    /// What becomes of an answer of this kind.
    pub(crate) fn count(&mut self, kind: Kind<'_>) -> Limited {
        match &mut self.limiter {
            Some(limiter) => limiter.count(self.to, kind, self.now_ms),
            None => Limited::Sent,
        }
    }
}

/// The network whose hosts count as one.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(u32::from(v4) >> 8),
        IpAddr::V6(v6) => (u128::from(v6) >> 72) | 1 << 127,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind<'_> = Kind::Records(b"\x03app\x00");

    fn of(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn beyond_the_rate_half_is_truncated_and_half_dropped() {
        let mut limiter = Limiter::new(10, false);
        let mut seen = [0; 3];
        for _ in 0..110 {
            seen[limiter.count(of("192.0.2.1"), KIND, 5) as usize] += 1;
        }
        assert_eq!(seen, [10, 50, 50]);
    }

    #[test]
    fn the_rate_returns_with_time_and_never_above_a_second_of_it() {
        let mut limiter = Limiter::new(10, false);
        let sent = |limiter: &mut Limiter, now_ms| {
            (0..50)
                .filter(|_| limiter.count(of("192.0.2.1"), KIND, now_ms) == Limited::Sent)
                .count()
        };
        assert_eq!(sent(&mut limiter, 0), 10);
        assert_eq!(sent(&mut limiter, 300), 3);
        assert_eq!(sent(&mut limiter, 60_000), 10);
    }

    #[test]
    fn a_network_counts_as_one_and_another_for_itself() {
        let mut limiter = Limiter::new(1, false);
        assert_eq!(limiter.count(of("192.0.2.1"), KIND, 0), Limited::Sent);
        assert_ne!(limiter.count(of("192.0.2.200"), KIND, 0), Limited::Sent);
        assert_eq!(limiter.count(of("192.0.3.1"), KIND, 0), Limited::Sent);
        assert_eq!(
            limiter.count(of("192.0.2.1"), Kind::Error, 0),
            Limited::Sent
        );
        assert_eq!(limiter.count(of("2001:db8::1"), KIND, 0), Limited::Sent);
        assert_ne!(
            limiter.count(of("2001:db8:0:ff::1"), KIND, 0),
            Limited::Sent
        );
    }

    #[test]
    fn loopback_is_exempt_unless_it_is_limited_too() {
        let mut limiter = Limiter::new(1, false);
        assert!((0..9).all(|_| limiter.count(of("127.0.0.1"), KIND, 0) == Limited::Sent));
        let mut limiter = Limiter::new(1, true);
        assert!((0..9).any(|_| limiter.count(of("127.0.0.1"), KIND, 0) != Limited::Sent));
    }
}
