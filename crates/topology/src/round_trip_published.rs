//! Published round trips between AWS regions, in milliseconds.
//!
//! Source: the P50 grid of cloudping.co (Matt Adorjan's service, which measures TCP round trips
//! between AWS regions around the clock), as the project commonware published a copy of it in its
//! estimator (github.com/commonwarexyz/monorepo, examples/estimator/src/p50.json, commit 4622dfb).
//! The copy bears no date; the regions that it has and lacks place it in mid-2025 (ap-east-2,
//! opened in June 2025, is there; ap-southeast-6, opened in September 2025, is not).
//!
//! The grid has a figure for each direction; this table has the one from the row's region to the
//! column's, rounded to a whole millisecond, and uses it both ways. The two directions differ by
//! less than 10 % but for two pairs: ap-east-1 to eu-west-1 (260 there, 225 back) and me-south-1 to
//! us-west-2 (263 there, 215 back).

/// The regions of the table, in the order of its rows and columns.
pub(crate) const REGIONS: [&str; 20] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "sa-east-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-central-1",
    "eu-north-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-south-1",
    "ap-northeast-3",
    "ap-east-1",
    "me-south-1",
    "af-south-1",
];

/// Row `i` has the round trips from region `i` to regions `0` to `i - 1`: half a matrix, so that
/// it cannot contradict itself.
#[rustfmt::skip]
const ROUND_TRIPS_MS: [&[u32]; 20] = [
    /* us-east-1      */ &[],
    /* us-east-2      */ &[16],
    /* us-west-1      */ &[64, 52],
    /* us-west-2      */ &[64, 51, 22],
    /* ca-central-1   */ &[16, 27, 80, 61],
    /* sa-east-1      */ &[115, 125, 175, 175, 126],
    /* eu-west-1      */ &[70, 80, 130, 119, 69, 178],
    /* eu-west-2      */ &[78, 88, 148, 129, 79, 187, 14],
    /* eu-west-3      */ &[84, 95, 144, 136, 86, 196, 20, 12],
    /* eu-central-1   */ &[93, 103, 153, 142, 93, 204, 27, 18, 12],
    /* eu-north-1     */ &[112, 123, 172, 155, 105, 223, 40, 31, 32, 23],
    /* ap-northeast-1 */ &[150, 136, 109, 99, 147, 258, 202, 213, 219, 228, 247],
    /* ap-northeast-2 */ &[180, 165, 134, 124, 176, 289, 233, 244, 250, 232, 250, 36],
    /* ap-southeast-1 */ &[219, 204, 171, 161, 215, 328, 179, 170, 167, 161, 181, 71, 74],
    /* ap-southeast-2 */ &[200, 188, 139, 141, 198, 312, 256, 266, 280, 252, 272, 106, 146, 95],
    /* ap-south-1     */ &[190, 200, 232, 222, 191, 301, 125, 117, 109, 129, 148, 133, 134, 64, 155],
    /* ap-northeast-3 */ &[154, 142, 110, 100, 151, 264, 208, 219, 225, 234, 253, 10, 25, 77, 120, 138],
    /* ap-east-1      */ &[198, 185, 156, 146, 203, 316, 260, 205, 201, 194, 213, 52, 39, 38, 128, 98, 47],
    /* me-south-1     */ &[162, 172, 222, 263, 163, 273, 99, 89, 87, 87, 106, 176, 169, 99, 189, 39, 172, 132],
    /* af-south-1     */ &[226, 236, 286, 273, 223, 337, 158, 150, 145, 155, 174, 357, 386, 314, 409, 272, 373, 348, 247],
];

/// The published round trip between two different AWS regions, if the table has it.
pub(crate) fn published_ms(a: &str, b: &str) -> Option<u32> {
    let index = |name: &str| REGIONS.iter().position(|region| *region == name);
    let (a, b) = (index(a)?, index(b)?);
    ROUND_TRIPS_MS[a.max(b)].get(a.min(b)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_once() {
        for (index, row) in ROUND_TRIPS_MS.iter().enumerate() {
            assert_eq!(row.len(), index, "{}", REGIONS[index]);
        }
        for a in REGIONS {
            for b in REGIONS {
                assert_eq!(published_ms(a, b), published_ms(b, a), "{a} {b}");
                assert_eq!(published_ms(a, b).is_some(), a != b, "{a} {b}");
            }
        }
    }

    #[test]
    fn known_figures_and_unknown_regions() {
        assert_eq!(published_ms("us-east-1", "eu-west-1"), Some(70));
        assert_eq!(published_ms("eu-west-1", "ap-northeast-1"), Some(202));
        assert_eq!(published_ms("ap-northeast-1", "us-east-1"), Some(150));
        assert_eq!(published_ms("us-east-1", "europe-west1"), None);
    }
}
