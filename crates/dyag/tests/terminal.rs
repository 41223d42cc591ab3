//! What people see: silence when asked for, bars on terminals alone, widths, languages.

mod common;

use common::{Place, root};

fn chunk(place: &Place, arguments: &[&str]) -> common::Outcome {
    place.write("notes.md", "# Notes\n\nThe archive has two rooms.\n");
    place.write("image.bin", "no text");
    place.run(&[&["chunk", ".", "--output", "chunks.jsonl"], arguments].concat())
}

#[test]
fn quiet_leaves_results_and_errors() {
    let place = Place::new();
    place.model();
    place.dataset();
    let train = ["finetune", "--base-model", "model", "--dataset", "train.jsonl", "--max-steps", "2", "--truncate"];
    let loud = place.run(&[&train[..], &["--output", "loud"]].concat());
    assert_eq!(loud.code, Some(0), "{loud}");
    assert!(loud.stderr.contains("step 1/2") && loud.stderr.contains("kernels"), "{loud}");
    let quiet = place.run(&[&train[..], &["--output", "quiet", "--quiet"]].concat());
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""), "{quiet}");
    assert!(quiet.stdout.contains("train loss"), "{quiet}");
    let short = place.run(&["-q", "finetune", "--base-model", "nowhere", "--dataset", "train.jsonl", "--output", "x"]);
    assert_eq!(short.code, Some(2), "{short}");
    assert!(short.stderr.starts_with("error: no model at nowhere"), "{short}");
    // Why the answer is no is no note.
    place.write(
        "prose.jsonl",
        "{\"id\": \"a\", \"source_id\": \"s\", \"title\": \"t\", \"content\": \"bla\", \"metadata\": {}, \"chunk_type\": \"x\"}\n",
    );
    let nothing = place.run(&["generate-questions", "prose.jsonl", "--output", "q.jsonl", "--quiet"]);
    assert_eq!(nothing.code, Some(1), "{nothing}");
    assert!(nothing.stderr.contains("no questions could be made"), "{nothing}");
}

#[test]
fn people_are_spoken_to_in_the_language_of_the_flag_or_of_the_environment() {
    let place = Place::new();
    assert!(chunk(&place, &[]).stdout.starts_with("1 document: 1 chunk of "), "{}", chunk(&place, &[]));
    assert!(chunk(&place, &["--lang", "fr"]).stdout.starts_with("1 document : 1 passage de "), "{}", chunk(&place, &["--lang", "fr"]));
    place.set("LANG", "fr_FR.UTF-8");
    assert!(chunk(&place, &[]).stdout.starts_with("1 document : 1 passage de "));
    assert!(chunk(&place, &["--lang", "en"]).stdout.starts_with("1 document: 1 chunk of "));
    place.write("dyag.toml", "[all]\nlang = \"en\"\n");
    assert!(chunk(&place, &[]).stdout.starts_with("1 document: 1 chunk of "), "a file of settings is nearer than the environment");
    place.write("dyag.toml", "");
    // What machines read does not depend on it, and errors stay English.
    let json = |place: &Place| chunk(place, &["--json"]).stdout;
    let french = json(&place);
    place.set("LC_ALL", "C");
    assert_eq!(json(&place), french);
    let error = place.run(&["--lang", "fr", "chunk", "nowhere.md", "--output", "x.jsonl"]);
    assert_eq!(error.code, Some(2), "{error}");
    assert!(error.stderr.contains("No such file"), "{error}");
}

#[test]
fn a_training_run_speaks_french() {
    let place = Place::new();
    place.model();
    place.dataset();
    place.set("LC_ALL", "fr_FR.UTF-8");
    let train = ["finetune", "--base-model", "model", "--dataset", "train.jsonl", "--max-steps", "2", "--truncate", "--output", "run"];
    let outcome = place.run(&train);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    for part in ["adaptateur", "2 conversations", "pas 1/2", "perte"] {
        assert!(outcome.stderr.contains(part), "no {part:?} in\n{outcome}");
    }
    assert!(outcome.stdout.contains("jetons justes") && outcome.stdout.contains("sur tous les pas"), "{outcome}");
    let set = place.run(&[
        "generate-training",
        &root().join("examples/apps10/chunks.jsonl").display().to_string(),
        "--output",
        "set.jsonl",
        "--validate",
    ]);
    assert_eq!(set.code, Some(0), "{set}");
    assert!(set.stdout.starts_with("100 exemples sur 100 : ") && set.stdout.contains("vérifié : "), "{set}");
}

#[test]
fn the_first_page_of_the_help_is_there_in_french() {
    let place = Place::new();
    let help = place.run(&["--lang", "fr", "--help"]);
    assert_eq!(help.code, Some(0), "{help}");
    for part in ["Affiner un petit modèle", "Commandes:", "Entraîner un adaptateur", "Options de toutes les commandes", "--quiet"] {
        assert!(help.stdout.contains(part), "no {part:?} in\n{help}");
    }
    assert!(!help.stdout.contains("Train an adapter"), "{help}");
    place.set("LANG", "fr_BE");
    assert_eq!(place.run(&["--help"]).stdout, help.stdout);
}

#[cfg(unix)]
mod on_a_terminal {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    use std::process::Stdio;

    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};

    use super::common::Place;

    /// Runs the program with its stderr, and stdout if wanted, on a terminal of so many columns; gives what the terminal was sent.
    fn run(place: &Place, columns: u16, with_stdout: bool, arguments: &[&str]) -> String {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&main).expect("granted");
        unlockpt(&main).expect("unlocked");
        let name = ptsname(&main, Vec::new()).expect("a name");
        let end: OwnedFd = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("opened");
        tcsetwinsize(&end, Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
        let mut command = place.command(arguments);
        command.env_remove("COLUMNS").env("TERM", "xterm").stdin(Stdio::null());
        command.stdout(if with_stdout { Stdio::from(end.try_clone().expect("cloned")) } else { Stdio::null() });
        command.stderr(Stdio::from(end));
        let mut child = command.spawn().expect("started");
        // The command holds this side's ends of the terminal open.
        drop(command);
        let mut text = Vec::new();
        let mut main = File::from(main);
        let mut buffer = [0; 4096];
        // The terminal is closed with an error.
        while let Ok(n @ 1..) = main.read(&mut buffer) {
            text.extend_from_slice(&buffer[..n]);
        }
        assert!(child.wait().expect("ended").success(), "{}", String::from_utf8_lossy(&text));
        String::from_utf8_lossy(&text).into_owned()
    }

    fn training(place: &Place, columns: u16, output: &str, more: &[&str]) -> String {
        place.model();
        place.dataset();
        let train = ["finetune", "--base-model", "model", "--dataset", "train.jsonl", "--max-steps", "2", "--truncate", "--output", output];
        run(place, columns, false, &[&train[..], more].concat())
    }

    /// A piece of a bar.
    const BAR: &str = "█";

    #[test]
    fn bars_are_drawn_there_and_nowhere_else() {
        let place = Place::new();
        assert!(training(&place, 100, "a", &[]).contains(BAR));
        assert_eq!(training(&place, 100, "b", &["--quiet"]), "");
        let piped = place.run(&[
            "finetune",
            "--base-model",
            "model",
            "--dataset",
            "train.jsonl",
            "--max-steps",
            "2",
            "--truncate",
            "--output",
            "c",
        ]);
        assert!(!piped.stderr.contains(BAR) && !piped.stderr.contains('\u{1b}'), "{piped}");
    }

    #[test]
    fn bars_and_help_are_as_wide_as_the_terminal() {
        let place = Place::new();
        let longest = |text: &str| {
            let mut plain = String::new();
            let mut characters = text.chars();
            while let Some(c) = characters.next() {
                // The movements and colours of terminals: an escape, a bracket, numbers, a letter.
                if c == '\u{1b}' {
                    characters.by_ref().find(|c| c.is_ascii_alphabetic());
                } else {
                    plain.push(c);
                }
            }
            plain
                .split(['\r', '\n'])
                .filter(|line| line.contains(BAR) || !text.contains(BAR))
                .map(|line| line.trim_end().chars().count())
                .max()
                .unwrap_or(0)
        };
        let (narrow, wide) = (training(&place, 50, "n", &[]), training(&place, 110, "w", &[]));
        assert!((26..=50).contains(&longest(&narrow)), "{} columns\n{narrow}", longest(&narrow));
        assert!((51..=110).contains(&longest(&wide)), "{} columns\n{wide}", longest(&wide));
        for (columns, least) in [(60, 50), (110, 90)] {
            let help = run(&place, columns, true, &["--help"]);
            let found = longest(&help);
            assert!(found <= usize::from(columns) && found >= least, "{found} of {columns} columns\n{help}");
        }
    }

    #[test]
    fn colours_are_for_terminals_and_for_those_who_want_them() {
        let place = Place::new();
        place.dataset();
        place.write("model.gguf", std::fs::read(super::root().join("fixtures/tiny-chat/model.gguf")).expect("the fixture"));
        let example = ["inspect", "train.jsonl", "--base-model", "model.gguf", "--line", "1"];
        // Tests set NO_COLOR.
        assert!(!run(&place, 100, true, &example).contains("\u{1b}[1;32m"));
        assert!(run(&place, 100, true, &[&example[..], &["--color", "always"]].concat()).contains("\u{1b}[1;32m"));
        place.set("NO_COLOR", "");
        assert!(run(&place, 100, true, &example).contains("\u{1b}[1;32m"));
    }
}
