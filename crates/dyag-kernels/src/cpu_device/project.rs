//! Projections through the kernels for bf16: buffers to operands and back.

use super::bf16::{Backward, BackwardPart, BackwardTerm, Forward, ForwardPart, ForwardTerm, Kind, Squeeze, Target, Values};
use super::{CpuBuffer, CpuDevice};
use crate::device::{LowRank, LowRankPair, PairGradient, Projection, ProjectionGradient};
use crate::weight::WeightMatrix;

impl CpuBuffer {
    /// Its elements, of either kind.
    fn values(&self) -> Values<'_> {
        match self.halves() {
            Some(halves) => Values::Bf16(halves),
            None => Values::F32(self),
        }
    }

    fn target(&mut self) -> Target<'_> {
        if self.halves().is_some() { Target::Bf16(self.halves_mut().expect("it has them")) } else { Target::F32(self) }
    }
}

impl CpuDevice {
    fn forward<'a>(&'a self, kind: Kind, x: &'a CpuBuffer, rows: usize, residual: Option<&'a CpuBuffer>) -> Forward<'a> {
        Forward { kind, level: self.level, memory: &self.memory, x: x.values(), rows, residual: residual.map(|residual| &**residual) }
    }

    pub(super) fn project_bf16(
        &self,
        kind: Kind,
        x: &CpuBuffer,
        rows: usize,
        residual: Option<&CpuBuffer>,
        parts: Vec<Projection<'_, Self>>,
    ) {
        let parts = parts.into_iter().map(|Projection { weight, bias, pair, y }| {
            assert_eq!(x.n_elements(), rows * weight.cols());
            let term = pair.map(|(LowRankPair { a, b, rank, scale }, u)| ForwardTerm { b, rank, u: Squeeze::Compute { a, scale, u } });
            ForwardPart { w: weight, bias: bias.map(|bias| &**bias), term, out: y.target() }
        });
        // SAFETY: the device has a kind only where the machine has it.
        unsafe { self.forward(kind, x, rows, residual).compute(parts.collect()) };
    }

    pub(super) fn project_backward_bf16(
        &self,
        kind: Kind,
        x: &CpuBuffer,
        rows: usize,
        parts: Vec<ProjectionGradient<'_, Self>>,
        d_x: Option<(&mut CpuBuffer, bool)>,
    ) {
        let parts = parts.into_iter().map(|ProjectionGradient { weight, d_y, pair }| {
            assert_eq!((x.n_elements(), d_y.n_elements()), (rows * weight.cols(), rows * weight.rows()));
            let term = pair.map(|PairGradient { pair: LowRankPair { a, b, rank, scale }, u, d_a, d_b }| BackwardTerm::Pair {
                a,
                b,
                rank,
                scale,
                u,
                d_a,
                d_b,
            });
            BackwardPart { w: weight, d_y: d_y.values(), term }
        });
        let backward = Backward { kind, level: self.level, memory: &self.memory, x: Some(x.values()), rows };
        // SAFETY: as above.
        unsafe { backward.compute(parts.collect(), d_x.map(|(d_x, add)| (d_x.target(), add))) };
    }

    /// [`crate::Device::linear`] in bf16.
    pub(super) fn linear_bf16(
        &self,
        kind: Kind,
        w: &WeightMatrix,
        (x, rows): (&CpuBuffer, usize),
        bias: Option<&CpuBuffer>,
        low_rank: Option<LowRank<'_, CpuBuffer>>,
        y: &mut CpuBuffer,
    ) {
        assert_eq!((x.n_elements(), y.n_elements()), (rows * w.cols(), rows * w.rows()));
        let term = low_rank.map(|LowRank { u, v, rank }| ForwardTerm { b: v, rank, u: Squeeze::Given(u) });
        let part = ForwardPart { w, bias: bias.map(|bias| &**bias), term, out: y.target() };
        // SAFETY: as above.
        unsafe { self.forward(kind, x, rows, None).compute(vec![part]) };
    }

    /// [`crate::Device::linear_backward`] in bf16.
    pub(super) fn linear_backward_bf16(
        &self,
        kind: Kind,
        w: &WeightMatrix,
        (d_y, rows): (&CpuBuffer, usize),
        low_rank: Option<LowRank<'_, CpuBuffer>>,
        (d_x, add): (&mut CpuBuffer, bool),
    ) {
        assert_eq!((d_y.n_elements(), d_x.n_elements()), (rows * w.rows(), rows * w.cols()));
        let term = low_rank.map(|LowRank { u, v, rank }| BackwardTerm::Given { d_u: u, a: v, rank });
        let backward = Backward { kind, level: self.level, memory: &self.memory, x: None, rows };
        // SAFETY: as above.
        unsafe { backward.compute(vec![BackwardPart { w, d_y: d_y.values(), term }], Some((d_x.target(), add))) };
    }
}
