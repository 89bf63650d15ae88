//! Messages of SNTP (RFC 4330, the header of RFC 5905).

use std::time::Duration;

/// Bytes of a message.
pub const LENGTH: usize = 48;
/// Seconds from 1900, where NTP begins, to 1970.
const TO_1970: u64 = 2_208_988_800;

/// Returns a request. `nonce` stands where the client's time would: the server gives it back, and learns nothing.
pub fn request(nonce: u64) -> [u8; LENGTH] {
    let mut message = [0; LENGTH];
    // Version 4, mode 3: client.
    message[0] = 4 << 3 | 3;
    message[40..].copy_from_slice(&nonce.to_be_bytes());
    message
}

/// Reads an answer to the request with `nonce`: the times at which the server received it and answered, since 1970.
pub fn answer(message: &[u8], nonce: u64) -> Option<(Duration, Duration)> {
    let message = message.first_chunk::<LENGTH>()?;
    let (warning, mode, stratum) = (message[0] >> 6, message[0] & 7, message[1]);
    // Warning 3 and stratum 0 are servers that have no time.
    if warning == 3 || mode != 4 || !(1..=15).contains(&stratum) || message[24..32] != nonce.to_be_bytes() {
        return None;
    }
    let received = time(*message[32..].first_chunk()?)?;
    let sent = time(*message[40..].first_chunk()?)?;
    Some((received, sent))
}

/// Reads a time: seconds since 1900 and a fraction. The second era begins in 2036 (RFC 4330 section 3).
fn time(bytes: [u8; 8]) -> Option<Duration> {
    let value = u64::from_be_bytes(bytes);
    let (seconds, fraction) = (value >> 32, value & 0xffff_ffff);
    if value == 0 {
        return None;
    }
    let era = if seconds >> 31 == 1 { 0 } else { 1 << 32 };
    let nanoseconds = (fraction * 1_000_000_000) >> 32;
    Some(Duration::new((seconds + era).checked_sub(TO_1970)?, nanoseconds as u32))
}

/// Returns the microseconds that the clock is behind (RFC 4330 section 5): sent at `sent`, answered at `back`.
pub fn offset(sent: Duration, server: (Duration, Duration), back: Duration) -> i64 {
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4);
    ((micros(server.0) - micros(sent)) + (micros(server.1) - micros(back))) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::Rng;

    fn good(nonce: u64) -> [u8; LENGTH] {
        let mut message = [0; LENGTH];
        message[..2].copy_from_slice(&[4 << 3 | 4, 2]);
        message[24..32].copy_from_slice(&nonce.to_be_bytes());
        // 2023-11-14 22:13:20 and half a second.
        let seconds = (1_700_000_000 + TO_1970) << 32;
        message[32..40].copy_from_slice(&(seconds | 1 << 31).to_be_bytes());
        message[40..].copy_from_slice(&(seconds | 3 << 30).to_be_bytes());
        message
    }

    #[test]
    fn an_answer_tells_both_times_of_the_server() {
        let times = (Duration::from_millis(1_700_000_000_500), Duration::from_millis(1_700_000_000_750));
        assert_eq!(answer(&good(77), 77), Some(times));
    }

    #[test]
    fn an_answer_to_another_request_or_of_a_server_without_time_is_refused() {
        assert_eq!(answer(&good(77), 78), None);
        for (at, value) in [(0, 3 << 6 | 4 << 3 | 4), (0, 4 << 3 | 3), (1, 0), (1, 16)] {
            let mut message = good(77);
            message[at] = value;
            assert_eq!(answer(&message, 77), None);
        }
        assert_eq!(answer(&good(77)[..47], 77), None);
    }

    #[test]
    fn seconds_go_on_after_2036() {
        assert_eq!(time([0, 0, 0, 1, 0, 0, 0, 0]), Some(Duration::from_secs((1 << 32) + 1 - TO_1970)));
    }

    #[test]
    fn the_way_there_and_back_does_not_count() {
        let ms = Duration::from_millis;
        assert_eq!(offset(ms(1000), (ms(5010), ms(5020)), ms(1030)), 4_000_000);
        assert_eq!(offset(ms(5000), (ms(1010), ms(1010)), ms(5020)), -4_000_000);
    }

    #[test]
    fn any_bytes_are_read_without_a_fault() {
        let mut rng = Rng(13);
        for _ in 0..20_000 {
            let mut message = good(5);
            for _ in 0..rng.below(20) {
                message[rng.below(LENGTH as u64) as usize] = rng.next() as u8;
            }
            if let Some(times) = answer(&message, 5) {
                offset(Duration::from_secs(rng.next() >> 8), times, Duration::from_secs(rng.next() >> 8));
            }
        }
    }
}
