//! The last norm, the head and the loss, over the rows that need them and in chunks: the logits of a whole batch never exist.

use dyag_kernels::Device;
use dyag_kernels::device::LossSum;

use super::Decoder;
use super::device_adapter::DeviceAdapter;
use super::pack::Target;
use super::whole::Part;

/// Bytes the logits of a chunk take at most unless said otherwise: 331 rows of Qwen's 151,936 tokens. Every chunk reads the whole head twice.
pub const LOGITS_BYTES: usize = 192 << 20;

impl<D: Device> Decoder<D> {
    /// Rows of logits made at a time.
    pub(super) fn rows_a_chunk(&self) -> usize {
        (self.logits_bytes / (4 * self.config.vocab_size)).max(1)
    }

    /// Final norm of the given rows of `x` `[T, C]`, in the buffer `n`; also the rows themselves and `1 / rms`.
    pub(super) fn final_norm(&self, x: &D::Buffer, rows: &[usize], mut n: D::Buffer) -> [D::Buffer; 3] {
        let (device, c) = (&*self.device, self.config.hidden_size);
        let mut gathered = device.scratch(rows.len() * c);
        device.gather_rows(x, rows, c, &mut gathered);
        let mut inv_rms = device.scratch(rows.len());
        device.rms_norm(&gathered, &self.final_norm, self.config.rms_norm_eps, &mut n, &mut inv_rms);
        [gathered, n, inv_rms]
    }

    /// Logits `[rows, V]` of the given rows of the last layer's output `x` `[T, C]`.
    pub(super) fn head_logits(&self, x: &D::Buffer, rows: &[usize], few: bool) -> D::Buffer {
        let len = rows.len() * self.config.hidden_size;
        let n = if few { self.device.scratch(len) } else { self.device.scratch_activations(len) };
        let [_, n, _] = self.final_norm(x, rows, n);
        let mut logits = self.device.scratch(rows.len() * self.config.vocab_size);
        if few {
            self.device.linear_few(&self.head, &n, rows.len(), None, &mut logits);
        } else {
            self.device.linear(&self.head, &n, rows.len(), None, None, &mut logits);
        }
        logits
    }

    /// Loss over `targets`, and, when `d_x` is given, its gradient added there.
    /// With it, gradients of the last norm and the head are added to `gradients`, where those are trained.
    pub(super) fn head_loss(&self, x: &D::Buffer, targets: &[Target], mut d_x: Option<(&mut D::Buffer, &mut DeviceAdapter<D>)>) -> LossSum {
        let (device, c, v) = (&*self.device, self.config.hidden_size, self.config.vocab_size);
        let mut sum = LossSum::default();
        for chunk in targets.chunks(self.rows_a_chunk()) {
            let rows: Vec<usize> = chunk.iter().map(|target| target.row).collect();
            let [gathered, n, inv_rms] = self.final_norm(x, &rows, device.scratch_activations(rows.len() * c));
            let mut logits = device.scratch(rows.len() * v);
            device.linear(&self.head, &n, rows.len(), None, None, &mut logits);
            let ids: Vec<u32> = chunk.iter().map(|target| target.id).collect();
            assert!(ids.iter().all(|id| (*id as usize) < v), "a target is not below the vocabulary's {v}");
            let weights: Vec<f32> = chunk.iter().map(|target| target.weight).collect();
            device.cross_entropy(&mut logits, &ids, &weights, &mut sum);
            if let Some((d_x, gradients)) = &mut d_x {
                let (mut d_n, mut d_rows) = (device.scratch(rows.len() * c), device.zeros(rows.len() * c));
                device.linear_backward(&self.head, &logits, rows.len(), None, &mut d_n, false);
                if gradients.is_whole() {
                    let head = if self.config.tied_head { Part::Embedding } else { Part::Head };
                    device.weight_backward(&logits, &n, rows.len(), gradients.whole_mut().get_mut(&head).expect("all are there"));
                    let of_norm = gradients.whole_mut().get_mut(&Part::FinalNorm).expect("all are there");
                    device.rms_norm_gain_backward(&d_n, &gathered, &inv_rms, of_norm);
                }
                device.rms_norm_backward(&d_n, &gathered, &self.final_norm, &inv_rms, &mut d_rows);
                device.scatter_add_rows(&d_rows, &rows, c, d_x);
            }
        }
        sum
    }
}
