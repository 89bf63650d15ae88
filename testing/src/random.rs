//! Numbers and bytes that are the same everywhere.

/// Bytes in a block.
pub const BLOCK: usize = 4096;

/// The random number generator xorshift64*, which returns the same numbers everywhere.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Creates a generator; other seeds give other numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns the next number.
    #[allow(clippy::should_implement_trait, reason = "it never ends, and a loop would")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Returns true once in `count` times on average.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Returns one of `from`, which is not empty.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Returns `len` incompressible bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }

    /// Overwrites all of `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for word in out.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            word.copy_from_slice(&bytes[..word.len()]);
        }
    }
}

/// Makes an incompressible block; other seeds give other blocks.
pub fn noise(seed: u64) -> Vec<u8> {
    Rng::new(seed).bytes(BLOCK)
}

/// Makes a block that compresses well; other seeds give other blocks.
pub fn text(seed: u64) -> Vec<u8> {
    let line = format!("{seed:020}: the quick brown fox jumps over the lazy dog\n");
    line.bytes().cycle().take(BLOCK).collect()
}

/// Returns the places in `0..end` to damage: all if few, else spread evenly with both ends.
pub fn places(end: usize, most: usize) -> Vec<usize> {
    if end <= most {
        return (0..end).collect();
    }
    let edge = most / 4;
    let middle = most - 2 * edge;
    let spread = (0..middle).map(|n| edge + n * (end - 2 * edge) / middle);
    (0..edge).chain(spread).chain(end - edge..end).collect()
}
