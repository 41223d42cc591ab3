//! The report for people.

use std::fmt::Write as _;

use super::models::{HubState, Trainable, Verdict};
use super::speed::Speed;
use super::{Finding, Report};
use crate::download_progress::size;
use crate::language::{counted, say};

/// The whole report as text.
pub(super) fn text(report: &Report) -> String {
    let Report { version, ok, processor, memory, disks, gpu, cache, hub, token, trainable, speed, problems, notes } = report;
    let mut out = String::new();
    let mut line = |what: &str, text: String| {
        let _ = writeln!(out, "{what:<12} {text}");
    };
    let unknown = || say!("not known", "inconnu");
    line("dyag", (*version).to_owned());
    let cores = processor.cores.map_or_else(String::new, |n| format!("{}, ", counted(n, ["core", "cores"], ["cœur", "cœurs"])));
    let threads = counted(processor.threads, ["thread", "threads"], ["fil", "fils"]);
    line(&say!("processor", "processeur"), format!("{}, {cores}{threads}", processor.model.clone().unwrap_or_else(unknown)));
    line("", if processor.features.is_empty() { unknown() } else { processor.features.join(" ") });
    line(&say!("kernels", "noyaux"), processor.kernels.clone());
    let bytes = |bytes: Option<u64>| bytes.map_or_else(unknown, size);
    let (total, available) = (bytes(memory.total_bytes), bytes(memory.available_bytes));
    let source = memory.source.as_ref().map_or_else(String::new, |source| format!(" ({source})"));
    line(&say!("memory", "mémoire"), say!("{available} free of {total}{source}", "{available} libres sur {total}{source}"));
    for disk in disks {
        let free = bytes(disk.free_bytes);
        let what = match disk.what {
            "models" => say!("models", "modèles"),
            _ => say!("working folder", "dossier de travail"),
        };
        line(&say!("disk", "disque"), say!("{free} free for {what} in {}", "{free} libres pour {what} dans {}", disk.path));
    }
    let gpus = if gpu.found.is_empty() { say!("none found", "aucun trouvé") } else { gpu.found.join(", ") };
    let driver = gpu.nvidia_driver.as_ref().map_or_else(String::new, |version| say!(", driver {version}", ", pilote {version}"));
    let used = say!(
        "this version has no CUDA kernels and computes on the processor",
        "cette version n'a pas de noyaux CUDA et calcule sur le processeur"
    );
    line("GPU", say!("{gpus}{driver}; {used}", "{gpus}{driver} ; {used}"));
    if let Some(cache) = cache {
        let n = counted(cache.models, ["model", "models"], ["modèle", "modèles"]);
        let (whole, room) = (cache.whole, size(cache.bytes));
        line(&say!("models", "modèles"), say!("{n} in {} ({whole} whole), {room}", "{n} dans {} ({whole} entiers), {room}", cache.path));
    }
    if let Some(hub) = hub {
        let (endpoint, detail) = (&hub.endpoint, &hub.detail);
        line(
            &say!("hub", "dépôt"),
            match hub.state {
                HubState::Reached => say!("{endpoint} answers: {detail}", "{endpoint} répond : {detail}"),
                HubState::Offline => {
                    say!("{endpoint} is not asked: {detail} is set", "{endpoint} n'est pas consulté : {detail} l'interdit")
                }
                HubState::Unreachable => say!("{endpoint} does not answer", "{endpoint} ne répond pas"),
            },
        );
    }
    if let Some(token) = token {
        line(
            &say!("token", "jeton"),
            match &token.source {
                Some(source) => say!("set, from {source}", "présent, de {source}"),
                None => say!("not set; only gated models need one", "absent ; seuls les modèles à accès réservé en demandent un"),
            },
        );
    }
    out.push_str(&training(trainable));
    if let Some(speed) = speed {
        out.push_str(&measured(speed));
    }
    findings(&mut out, &say!("note", "note"), notes);
    findings(&mut out, &say!("problem", "problème"), problems);
    let verdict = if *ok {
        say!("All is well: dyag works here.", "Tout va bien : dyag fonctionne ici.")
    } else {
        say!("Something keeps dyag from working here: see above.", "Quelque chose empêche dyag de fonctionner ici : voir ci-dessus.")
    };
    let _ = writeln!(out, "\n{verdict}");
    out
}

/// The models that memory allows to train, each kind on a line.
fn training(rows: &[Trainable]) -> String {
    let mut out = say!("\nmodels that memory allows to train here\n", "\nmodèles que la mémoire permet d'entraîner ici\n");
    for (verdict, what) in [
        (Verdict::Yes, say!("well", "bien")),
        (Verdict::Tight, say!("in small batches", "par petits lots")),
        (Verdict::No, say!("not", "non")),
    ] {
        let names: Vec<String> = rows
            .iter()
            .filter(|row| row.verdict == verdict)
            .map(|row| if verdict == Verdict::No { format!("{} ({} GB)", row.name, row.memory_min_gb) } else { row.name.clone() })
            .collect();
        if !names.is_empty() {
            let _ = writeln!(out, "  {what:<18} {}", names.join(", "));
        }
    }
    out
}

fn measured(speed: &Speed) -> String {
    let seconds = speed.seconds;
    let mut out = say!("\nproducts, measured in {seconds:.0} s\n", "\nproduits, mesurés en {seconds:.0} s\n");
    for rate in &speed.products {
        let picked = if rate.picked { say!("; --precision auto takes it", " ; --precision auto le choisit") } else { String::new() };
        let (operands, gflops, rows, kernel) = (rate.operands, rate.gflops, rate.rows, &rate.kernel);
        out += &say!(
            "  {operands:<6} {gflops:>8.0} GFLOP/s, {rows} rows ({kernel}){picked}\n",
            "  {operands:<6} {gflops:>8.0} GFLOP/s, {rows} lignes ({kernel}){picked}\n"
        );
    }
    if !speed.training.is_empty() {
        out += &say!("\ntraining, estimated\n", "\nentraînement, estimé\n");
        for estimate in &speed.training {
            let (name, low, high) = (&estimate.name, rate(estimate.tokens_a_second_low), rate(estimate.tokens_a_second_high));
            out += &say!("  {name:<20} {low:>7} to {high} tokens/s\n", "  {name:<20} {low:>7} à {high} jetons/s\n");
        }
        let _ = writeln!(out, "  {}", speed.how);
    }
    out
}

/// Two digits that say something.
fn rate(tokens_a_second: f64) -> String {
    if tokens_a_second < 10.0 { format!("{tokens_a_second:.1}") } else { format!("{tokens_a_second:.0}") }
}

fn findings(out: &mut String, kind: &str, findings: &[Finding]) {
    for Finding { what, advice } in findings {
        out.push_str(&say!("\n{kind}: {what}\n  {advice}\n", "\n{kind} : {what}\n  {advice}\n"));
    }
}
