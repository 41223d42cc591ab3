//! The report for people.

use std::fmt::Write as _;

use super::Report;

/// The whole report as text.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    write(report, &mut text).expect("a String takes everything");
    text
}

fn write(report: &Report, text: &mut String) -> std::fmt::Result {
    let Report { machine, peaks, model, products, training, generation, peak_memory_bytes, version } = report;
    let processor = machine.processor.as_deref().unwrap_or("a processor");
    writeln!(text, "dyag {version}, {processor}, {} threads, {}", machine.threads, machine.instructions)?;
    writeln!(text, "kernels     {}", machine.kernels)?;
    if let Some(gflops) = peaks.vector_gflops {
        writeln!(text, "peak        {gflops:.0} GFLOP/s of f32 multiply-adds")?;
    }
    if let Some(gflops) = peaks.bf16_gflops {
        writeln!(text, "            {gflops:.0} GFLOP/s of multiply-adds of pairs of bf16")?;
    }
    match peaks.tile_gflops {
        Some(gflops) => writeln!(text, "            {gflops:.0} GFLOP/s of bf16 products in the matrix unit")?,
        None => writeln!(text, "            no matrix unit (AMX), or the system does not offer it")?,
    }
    writeln!(text, "            {:.1} GB/s read from memory", peaks.memory_gigabytes_a_second)?;
    let Some(model) = model else { return Ok(()) };
    writeln!(text, "model       {model}")?;
    if !products.is_empty() {
        let tokens = products[0].tokens;
        writeln!(text, "\nproducts of {tokens} rows            forward GFLOP/s   backward GFLOP/s")?;
        for product in products {
            let name = format!("{} {} x {} {}", product.name, product.n_out, product.n_in, product.format);
            let share = |share: Option<f64>| share.map_or(String::new(), |share| format!(" {:3.0} %", 100.0 * share));
            writeln!(
                text,
                "{name:<36}{:>7.0}{}     {:>7.0}{}",
                product.forward_gflops,
                share(product.forward_share),
                product.backward_gflops,
                share(product.backward_share)
            )?;
        }
    }
    if !training.is_empty() {
        writeln!(text, "\ntraining (16 conversations a step, rank 16)")?;
        for way in training {
            let prefixes = if way.shared_prefixes { "shared beginnings once" } else { "every token" };
            let recompute = if way.recompute { ", layers computed twice" } else { "" };
            writeln!(
                text,
                "{prefixes:<24}{:>8.1} tokens/s of the data, {:.1} computed, {:.0} GFLOP/s{recompute}",
                way.tokens_a_second, way.computed_tokens_a_second, way.gflops
            )?;
        }
    }
    if let Some(g) = generation {
        writeln!(text, "\ngeneration after {} tokens", g.prompt_tokens)?;
        writeln!(text, "{:<24}{:>8.1} tokens/s", "prefill", g.prefill_tokens_a_second)?;
        let share = 100.0 * g.decode_share_of_memory;
        writeln!(text, "{:<24}{:>8.1} tokens/s, {share:.0} % of what memory allows", "one answer", g.decode_tokens_a_second)?;
        let times = g.streams_tokens_a_second / g.decode_tokens_a_second;
        writeln!(text, "{:<24}{:>8.1} tokens/s, {times:.1} times one", format!("{} answers", g.streams), g.streams_tokens_a_second)?;
    }
    if let Some(bytes) = peak_memory_bytes {
        writeln!(text, "\nmemory      {:.2} GB at most", *bytes as f64 / 1e9)?;
    }
    Ok(())
}
