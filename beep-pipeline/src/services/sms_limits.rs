//! How many codes are sent: per number, address, network, and only to the countries that are served.

use super::phone;
use beep_core::store::Ephemeral;
use beep_core::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many codes may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Seconds between two codes to one number.
    pub pause: Duration,
    /// Codes to one number in an hour.
    pub number_hour: u64,
    /// Codes to one number in a day.
    pub number_day: u64,
    /// Codes asked for from one address in an hour.
    pub address_hour: u64,
    /// Codes asked for from one network (/24, /48) in an hour.
    pub network_hour: u64,
    /// The countries (`SG`, `DE`) whose numbers get codes; empty: all.
    pub countries: Vec<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pause: MINUTE,
            number_hour: 5,
            number_day: 10,
            address_hour: 20,
            network_hour: 100,
            countries: Vec::new(),
        }
    }
}

/// Counts in the [`Ephemeral`] store, so that all servers of an installation count together.
#[derive(Debug)]
pub(super) struct SmsLimits {
    ephemeral: Arc<dyn Ephemeral>,
    limits: Limits,
}

impl SmsLimits {
    pub(super) fn new(ephemeral: Arc<dyn Ephemeral>, limits: Limits) -> Self {
        Self { ephemeral, limits }
    }

    /// Takes one code to this number for somebody at this address; [`ErrorKind::RateLimited`] when there is none left.
    ///
    /// Who asks is counted before the number is: whoever asks too often cannot use up the codes of others.
    pub(super) async fn take(&self, number: &str, from: IpAddr) -> Result<()> {
        let Limits { pause, number_hour, number_day, address_hour, network_hour, countries } = &self.limits;
        if !countries.is_empty() {
            let country = phone::country(number).unwrap_or_default();
            if !countries.iter().any(|served| served.eq_ignore_ascii_case(&country)) {
                return Err(Error::new(ErrorKind::Denied, "numbers of this country are not served here"));
            }
        }
        self.count(&format!("sms/address/{from}"), HOUR, *address_hour).await?;
        self.count(&format!("sms/network/{}", network(from)), HOUR, *network_hour).await?;
        if !pause.is_zero() && !self.ephemeral.put_new(&pause_key(number), "".into(), *pause).await? {
            return Err(too_many());
        }
        self.count(&format!("sms/hour/{number}"), HOUR, *number_hour).await?;
        self.count(&format!("sms/day/{number}"), DAY, *number_day).await
    }

    /// Ends the pause after a code that could not be sent.
    pub(super) async fn give_back(&self, number: &str) {
        if let Err(e) = self.ephemeral.remove(&pause_key(number)).await {
            tracing::warn!(error = %e, "the pause after a code that was not sent goes on");
        }
    }

    async fn count(&self, key: &str, time: Duration, limit: u64) -> Result<()> {
        if self.ephemeral.count(key, time).await? > limit { Err(too_many()) } else { Ok(()) }
    }
}

fn too_many() -> Error {
    Error::new(ErrorKind::RateLimited, "too many codes were asked for: wait before you ask for another one")
}

fn pause_key(number: &str) -> String {
    format!("sms/pause/{number}")
}

/// The network that an address belongs to: what one customer of a provider usually has.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).to_string()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (address, of) in [
            ("10.1.2.3", "10.1.2.0"),
            ("::ffff:10.1.2.3", "10.1.2.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ] {
            assert_eq!(network(address.parse().unwrap()), of);
        }
    }
}
