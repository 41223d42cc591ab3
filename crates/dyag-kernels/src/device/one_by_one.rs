//! Several projections of one input, one after the other: what [`Device`]'s operations on all at once must equal.

use super::{Device, LowRank, LowRankPair, Matmul, PairGradient, Projection, ProjectionGradient};

/// [`Device::project`] made of other operations: its specification.
pub fn project_one_by_one<D: Device + ?Sized>(
    device: &D,
    x: &D::Buffer,
    rows: usize,
    residual: Option<&D::Buffer>,
    parts: Vec<Projection<'_, D>>,
) {
    let n_in = device.len(x) / rows.max(1);
    for Projection { weight, bias, pair, y } in parts {
        let low_rank = pair.map(|(LowRankPair { a, b, rank, scale }, u)| {
            device.matmul(Matmul::squeeze(rows, n_in, rank, scale), x, a, u);
            LowRank { u, v: b, rank }
        });
        device.linear(weight, x, rows, bias, low_rank, y);
        if let Some(residual) = residual {
            device.add(y, residual);
        }
    }
}

/// [`Device::project_few`] made of other operations: its specification.
pub fn project_few_one_by_one<D: Device + ?Sized>(
    device: &D,
    x: &D::Buffer,
    rows: usize,
    residual: Option<&D::Buffer>,
    parts: Vec<Projection<'_, D>>,
) {
    let n_in = device.len(x) / rows.max(1);
    for Projection { weight, bias, pair, y } in parts {
        device.linear_few(weight, x, rows, bias, y);
        if let Some((LowRankPair { a, b, rank, scale }, u)) = pair {
            device.matmul_few(Matmul::squeeze(rows, n_in, rank, scale), x, a, u);
            let n_out = device.len(b) / rank;
            let expand = Matmul { m: rows, n: n_out, k: rank, transpose_a: false, transpose_b: true, alpha: 1.0, beta: 1.0 };
            device.matmul_few(expand, u, b, y);
        }
        if let Some(residual) = residual {
            device.add(y, residual);
        }
    }
}

/// [`Device::project_backward`] made of other operations: its specification.
pub fn project_backward_one_by_one<D: Device + ?Sized>(
    device: &D,
    x: &D::Buffer,
    rows: usize,
    parts: Vec<ProjectionGradient<'_, D>>,
    mut d_x: Option<(&mut D::Buffer, bool)>,
) {
    let n_in = device.len(x) / rows.max(1);
    for ProjectionGradient { weight, d_y, pair } in parts {
        let n_out = device.len(d_y) / rows.max(1);
        let low_rank = pair.map(|PairGradient { pair: LowRankPair { a, b, rank, scale }, u, d_a, d_b }| {
            let matmul = |m, n, k, transpose_a, alpha, beta| Matmul { m, n, k, transpose_a, transpose_b: false, alpha, beta };
            device.matmul(matmul(n_out, rank, rows, true, 1.0, 1.0), d_y, u, d_b);
            let mut d_u = device.scratch(rows * rank);
            device.matmul(matmul(rows, rank, n_out, false, scale, 0.0), d_y, b, &mut d_u);
            device.matmul(matmul(rank, n_in, rows, true, 1.0, 1.0), &d_u, x, d_a);
            (d_u, a, rank)
        });
        if let Some((d_x, accumulate)) = &mut d_x {
            let low_rank = low_rank.as_ref().map(|(u, v, rank)| LowRank { u, v: *v, rank: *rank });
            device.linear_backward(weight, d_y, rows, low_rank, d_x, *accumulate);
            *accumulate = true;
        }
    }
}
