//! Putting a few costs in order, and draws, without branches that a processor would guess wrong.

use meridian_topology::REGIONS_MAX;

const _: () = assert!(REGIONS_MAX == 32, "the index of a cost takes five bits");

/// Up to so many, sorting by insertion is quicker.
const FEW: usize = 6;

/// The indexes of the first `length` costs, the least cost first; of equal ones the first.
///
/// Costs are never negative, so their bits order as they do. The five lowest of them give way to the
/// index, which leaves six decimal digits. Each place is then the number of smaller costs: a thousand
/// comparisons at most, several at once, where sorting would take a tenth as many and guess each.
pub(crate) fn ascending(costs: &[f32; REGIONS_MAX], length: usize) -> [u8; REGIONS_MAX] {
    let mut keys = [i32::MAX; REGIONS_MAX];
    for (index, cost) in costs[..length].iter().enumerate() {
        keys[index] = (cost.max(0.0).to_bits() & !31 | index as u32) as i32;
    }
    let mut places = [0; REGIONS_MAX];
    if length <= FEW {
        keys[..length].sort_unstable();
        for (place, key) in places.iter_mut().zip(&keys[..length]) {
            *place = (key & 31) as u8;
        }
        return places;
    }
    for (index, key) in keys[..length].iter().enumerate() {
        let smaller: i32 = keys.iter().map(|other| i32::from(other < key)).sum();
        places[smaller as usize] = index as u8;
    }
    places
}

/// A draw of which the smallest wins, with chances as the weights are: exponential variates with the
/// weights as rates (weighted rendezvous hashing; Efraimidis and Spirakis, "Weighted random sampling
/// with a reservoir", 2006). The next in order is drawn by the weights of the rest.
pub(crate) fn draw(luck: u64, weight: f32) -> f32 {
    // The upper 24 bits, from just above 0 to 1.
    let even = ((luck >> 40) + 1) as f32 / (1 << 24) as f32;
    if weight > 0.0 {
        -logarithm(even) / weight
    } else {
        f32::MAX * even
    }
}

/// The natural logarithm of a positive number, to within 2·10⁻⁵: the exponent by the bits, the
/// mantissa *m* by the series of ln *m* = 2 artanh((*m* − 1)/(*m* + 1)), four terms of it.
fn logarithm(number: f32) -> f32 {
    let bits = number.to_bits();
    let exponent = (bits >> 23) as i32 - 127;
    let mantissa = f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000);
    let part = (mantissa - 1.0) / (mantissa + 1.0);
    let square = part * part;
    let series = ((square / 7.0 + 0.2) * square + 1.0 / 3.0) * square + 1.0;
    exponent as f32 * std::f32::consts::LN_2 + 2.0 * part * series
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn costs_come_in_order(drawn in prop::collection::vec(0.0f32..1e6, 1..=REGIONS_MAX)) {
            let mut costs = [0.0; REGIONS_MAX];
            costs[..drawn.len()].copy_from_slice(&drawn);
            let places = ascending(&costs, drawn.len());
            let mut sorted: Vec<u8> = places[..drawn.len()].to_vec();
            for pair in sorted.windows(2) {
                let [one, other] = [pair[0], pair[1]].map(|index| costs[usize::from(index)]);
                prop_assert!(one <= other * 1.000_01);
            }
            sorted.sort_unstable();
            let all: Vec<u8> = (0..drawn.len() as u8).collect();
            prop_assert_eq!(sorted, all);
        }

        #[test]
        fn the_logarithm_is_near_enough(number in f32::MIN_POSITIVE..1.0) {
            prop_assert!((logarithm(number) - number.ln()).abs() < 3e-5);
        }
    }

    #[test]
    fn equals_keep_their_order() {
        for length in [1, FEW, FEW + 1, REGIONS_MAX] {
            let places = ascending(&[7.5; REGIONS_MAX], length);
            let expected: Vec<u8> = (0..length as u8).collect();
            assert_eq!(places[..length], expected);
        }
    }

    #[test]
    fn the_least_and_the_most_lucky_have_a_draw() {
        assert!(draw(0, 1.0) > 16.0 && draw(0, 1.0).is_finite());
        assert!(draw(u64::MAX, 1.0).abs() < 1e-6);
        assert!(draw(u64::MAX, 0.0).is_finite());
    }
}
