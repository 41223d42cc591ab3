//! A tensor's rows, merged where an adapter acts on them, put into another format a panel at a time.

use std::io::Write;

use dyag_kernels::{Format, WeightMatrix, quant};
use rayon::prelude::*;

use super::ExportError;
use crate::adapter::{Adapter, LoraPair};
use crate::weights::gguf::TensorError;
use crate::weights::{Content, NamedTensor};

/// Elements of a panel, at least one row: some megabytes, whatever the model's size.
const PANEL_LEN: usize = 1 << 20;

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Tensors by format, most bytes first: name, tensors, bytes.
    pub formats: Vec<(&'static str, usize, u64)>,
    /// Matrices with an adapter's share in them.
    pub n_merged: usize,
    /// Bytes of all tensors.
    pub n_bytes: u64,
}

impl Written {
    /// Counts a tensor.
    pub(super) fn count(&mut self, format: Format, n_bytes: u64, merged: bool) {
        self.n_merged += usize::from(merged);
        self.n_bytes += n_bytes;
        match self.formats.iter_mut().find(|row| row.0 == format.name()) {
            Some(row) => (row.1, row.2) = (row.1 + 1, row.2 + n_bytes),
            None => self.formats.push((format.name(), 1, n_bytes)),
        }
        self.formats.sort_by_key(|row| std::cmp::Reverse(row.2));
    }
}

/// A tensor with what an adapter adds to it.
pub(super) struct Rows<'a> {
    pub(super) tensor: NamedTensor<'a>,
    pub(super) pair: Option<&'a LoraPair>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(tensor: NamedTensor<'a>, adapter: Option<&'a Adapter>) -> Self {
        let site = match tensor.content {
            Content::Matrix(_, site) => site,
            Content::Vector(_) => None,
        };
        let pair = site.zip(adapter).and_then(|(site, adapter)| adapter.pairs.get(&site));
        Self { tensor, pair }
    }

    /// Sizes, outermost first.
    pub(super) fn shape(&self) -> Vec<usize> {
        match self.tensor.content {
            Content::Matrix(matrix, _) => vec![matrix.rows(), matrix.cols()],
            Content::Vector(vector) => vec![vector.len()],
        }
    }

    /// Writes all rows as `format`, in the order of the file that they are for.
    pub(super) fn write(&self, format: Format, out: &mut dyn Write) -> Result<(), TensorError<ExportError>> {
        match self.tensor.content {
            Content::Matrix(matrix, _) => self.write_matrix(matrix, format, out),
            Content::Vector(vector) => self.write_vector(vector, format, out),
        }
    }

    fn write_vector(&self, vector: &[f32], format: Format, out: &mut dyn Write) -> Result<(), TensorError<ExportError>> {
        let row = |stored: usize| self.tensor.interleaved.map_or(stored, |size| original_row(stored, size));
        let shift = if self.tensor.from_one { 1.0 } else { 0.0 };
        let values: Vec<f32> = (0..vector.len()).map(|stored| vector[row(stored)] - shift).collect();
        let mut bytes = vec![0; format.row_bytes(values.len()).expect("vectors are stored in plain formats")];
        quant::quantize(format, &values, &mut bytes).map_err(|bad| self.unstorable(0, bad, format))?;
        Ok(out.write_all(&bytes)?)
    }

    fn write_matrix(&self, matrix: &WeightMatrix, format: Format, out: &mut dyn Write) -> Result<(), TensorError<ExportError>> {
        let (rows, cols) = (matrix.rows(), matrix.cols());
        let row_bytes = format.row_bytes(cols).expect("the format was chosen for this row");
        let panel_rows = (PANEL_LEN / cols).clamp(1, rows.max(1));
        let mut panel = vec![0; panel_rows * row_bytes];
        for from in (0..rows).step_by(panel_rows) {
            let n = panel_rows.min(rows - from);
            let panel = &mut panel[..n * row_bytes];
            let failed = panel
                .par_chunks_mut(row_bytes)
                .enumerate()
                .map_init(Vec::new, |values, (i, out)| self.put_row(matrix, from + i, format, values, out).err())
                .find_first(Option::is_some)
                .flatten();
            if let Some(error) = failed {
                return Err(error.into());
            }
            out.write_all(panel)?;
        }
        Ok(())
    }

    /// Row `stored` of the file.
    fn put_row(
        &self,
        matrix: &WeightMatrix,
        stored: usize,
        format: Format,
        values: &mut Vec<f32>,
        out: &mut [u8],
    ) -> Result<(), ExportError> {
        let row = self.tensor.interleaved.map_or(stored, |size| original_row(stored, size));
        values.resize(matrix.cols(), 0.0);
        matrix.widen_row(row, 0, values);
        if let Some(pair) = self.pair {
            pair.merge_row(row, values);
        } else if matrix.format() == format {
            // As it lies: what is quantised once is not quantised again.
            return match values.iter().position(|value| !value.is_finite()) {
                Some(index) => Err(self.unstorable(row, quant::Unstorable { index, value: values[index] }, format)),
                None => {
                    out.copy_from_slice(matrix.row_bytes(row));
                    Ok(())
                }
            };
        }
        quant::quantize(format, values, out).map_err(|bad| self.unstorable(row, bad, format))
    }

    fn unstorable(&self, row: usize, bad: quant::Unstorable, format: Format) -> ExportError {
        let hint = match (bad.value.is_finite(), self.pair) {
            (true, _) => "; choose F32 or BF16, whose range is wider",
            (false, None) => "; the model's file is damaged or was written by a training run that diverged",
            (false, Some(_)) => "; the model's file or the adapter is damaged",
        };
        let (name, format) = (self.tensor.name.clone(), format.name());
        ExportError::Unstorable { name, row, column: bad.index, value: bad.value, format, hint }
    }
}

impl From<ExportError> for TensorError<ExportError> {
    fn from(error: ExportError) -> Self {
        Self::Content(error)
    }
}

/// The row of the original model that lies at `stored` where heads of `head_size` rows are interleaved: the first half of each head is at the even places.
pub(super) fn original_row(stored: usize, head_size: usize) -> usize {
    let (head, within) = (stored / head_size, stored % head_size);
    head * head_size + within / 2 + if within % 2 == 0 { 0 } else { head_size / 2 }
}
