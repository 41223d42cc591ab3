//! From the states of a text's tokens to one vector.

/// How a text's vector comes from its tokens' states, as sentence-transformers names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The first token's.
    Cls,
    /// The largest value of each channel.
    Max,
    /// The mean.
    Mean,
    /// The sum, divided by the root of the number of tokens.
    MeanSqrtLen,
    /// The mean, token `i` (from 1) counting `i` times.
    WeightedMean,
    /// The last token's.
    Last,
}

impl Pooling {
    /// Every kind, in the order in which sentence-transformers' older files put their vectors end to end.
    pub const ALL: [Self; 6] = [Self::Cls, Self::Max, Self::Mean, Self::MeanSqrtLen, Self::WeightedMean, Self::Last];

    /// Name in newer files and in signatures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cls => "cls",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::MeanSqrtLen => "mean_sqrt_len_tokens",
            Self::WeightedMean => "weightedmean",
            Self::Last => "lasttoken",
        }
    }

    /// The flag of older files.
    pub(super) fn flag(self) -> &'static str {
        match self {
            Self::Cls => "pooling_mode_cls_token",
            Self::Max => "pooling_mode_max_tokens",
            Self::Mean => "pooling_mode_mean_tokens",
            Self::MeanSqrtLen => "pooling_mode_mean_sqrt_len_tokens",
            Self::WeightedMean => "pooling_mode_weightedmean_tokens",
            Self::Last => "pooling_mode_lasttoken",
        }
    }
}

/// The vectors of all `kinds`, end to end, of states `[T, width]`; zeros where there is no token. With `normalize`, scaled to length 1 (a vector of zeros stays).
pub fn pool(states: &[f32], width: usize, kinds: &[Pooling], normalize: bool) -> Vec<f32> {
    let n = states.len() / width;
    let row = |token: usize| &states[token * width..(token + 1) * width];
    let weighted = |weight: &dyn Fn(usize) -> f64, divisor: f64| {
        let mut sums = vec![0f64; width];
        for token in 0..n {
            let weight = weight(token);
            sums.iter_mut().zip(row(token)).for_each(|(sum, value)| *sum += weight * f64::from(*value));
        }
        sums.iter().map(|sum| (sum / divisor) as f32).collect::<Vec<f32>>()
    };
    let mut vector = Vec::with_capacity(kinds.len() * width);
    for kind in kinds {
        vector.extend(match kind {
            _ if n == 0 => vec![0.0; width],
            Pooling::Cls => row(0).to_vec(),
            Pooling::Last => row(n - 1).to_vec(),
            Pooling::Max => (0..width).map(|channel| (0..n).fold(f32::NEG_INFINITY, |m, token| m.max(row(token)[channel]))).collect(),
            Pooling::Mean => weighted(&|_| 1.0, n as f64),
            Pooling::MeanSqrtLen => weighted(&|_| 1.0, (n as f64).sqrt()),
            Pooling::WeightedMean => weighted(&|token| (token + 1) as f64, (n * (n + 1)) as f64 / 2.0),
        });
    }
    if normalize {
        let norm = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|v| *v = (f64::from(*v) / norm.max(1e-12)) as f32);
    }
    vector
}
