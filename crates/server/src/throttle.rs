//! Bounds how fast one address may guess secrets: tokens, set-up codes, claim codes.
//!
//! A token bucket per address, in a table of bounded size. Decides only; who is asked for and what
//! a refusal looks like is the caller's business.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ecowatt_model::MonoMs;

use crate::limits::{ATTEMPT_ADDRESSES_MAX, ATTEMPT_EVERY, ATTEMPTS_BURST};

/// Attempts by address.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// When the address will have all its attempts back. Its distance from the present, in steps of
    /// [`ATTEMPT_EVERY`], is the number of attempts spent.
    full_at: HashMap<IpAddr, MonoMs>,
}

impl Throttle {
    /// Spends an attempt; if none is left, how long until there is one.
    ///
    /// # Errors
    /// The time to wait.
    pub(crate) fn attempt(&mut self, address: IpAddr, now: MonoMs) -> Result<(), Duration> {
        let address = network(address);
        let full_at =
            self.full_at.get(&address).copied().unwrap_or(now).max(now).plus(ATTEMPT_EVERY);
        let spent = full_at.since(now);
        let burst = ATTEMPT_EVERY * ATTEMPTS_BURST;
        if spent > burst {
            return Err(spent - burst);
        }
        if self.full_at.len() >= ATTEMPT_ADDRESSES_MAX && !self.full_at.contains_key(&address) {
            self.forget(now);
        }
        self.full_at.insert(address, full_at);
        Ok(())
    }

    /// Gives an attempt back, because it was none: the secret was right.
    pub(crate) fn refund(&mut self, address: IpAddr, now: MonoMs) {
        let address = network(address);
        if let Some(full_at) = self.full_at.get_mut(&address) {
            *full_at = now.plus(full_at.since(now).saturating_sub(ATTEMPT_EVERY));
        }
    }

    /// Makes room: forgets all that have their attempts back, or else the one nearest to it.
    fn forget(&mut self, now: MonoMs) {
        let before = self.full_at.len();
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() == before
            && let Some(nearest) =
                self.full_at.iter().min_by_key(|(_, full_at)| **full_at).map(|(a, _)| *a)
        {
            self.full_at.remove(&nearest);
        }
    }
}

/// Whoever has one IPv6 address usually has its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => std::net::Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_is_allowed_and_then_one_per_interval() {
        let mut throttle = Throttle::default();
        let here = IpAddr::from([192, 0, 2, 1]);
        let now = MonoMs(5_000);
        for _ in 0..ATTEMPTS_BURST {
            assert_eq!(throttle.attempt(here, now), Ok(()));
        }
        assert_eq!(throttle.attempt(here, now), Err(ATTEMPT_EVERY));
        assert_eq!(throttle.attempt(IpAddr::from([192, 0, 2, 2]), now), Ok(()));
        let later = now.plus(ATTEMPT_EVERY);
        assert_eq!(throttle.attempt(here, later), Ok(()));
        assert_eq!(throttle.attempt(here, later), Err(ATTEMPT_EVERY));
    }

    #[test]
    fn right_secrets_cost_nothing() {
        let mut throttle = Throttle::default();
        let here = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..3 * ATTEMPTS_BURST {
            assert_eq!(throttle.attempt(here, MonoMs(0)), Ok(()));
            throttle.refund(here, MonoMs(0));
        }
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_their_attempts() {
        let mut throttle = Throttle::default();
        for host in 0..ATTEMPTS_BURST {
            let address: IpAddr = format!("2001:db8::{host:x}").parse().unwrap();
            assert_eq!(throttle.attempt(address, MonoMs(0)), Ok(()));
        }
        assert!(throttle.attempt("2001:db8::ffff".parse().unwrap(), MonoMs(0)).is_err());
        assert!(throttle.attempt("2001:db8:0:1::1".parse().unwrap(), MonoMs(0)).is_ok());
    }

    #[test]
    fn table_stays_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..2 * u32::try_from(ATTEMPT_ADDRESSES_MAX).unwrap() {
            let _ = throttle.attempt(IpAddr::from(n.to_be_bytes()), MonoMs(0));
        }
        assert!(throttle.full_at.len() <= ATTEMPT_ADDRESSES_MAX);
    }
}
