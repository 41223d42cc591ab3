//! What Ctrl-C, or a request to terminate, does to long work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::terminal;

/// Exit status of what was interrupted: what a shell gives for Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// A flag that the first request raises, for work that looks at it.
pub(crate) fn flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    // Where nobody can listen, the run ends as any program does.
    let _ = ctrlc::set_handler(move || raised.store(true, Ordering::Relaxed));
    flag
}

/// For work that keeps what it has at each moment: a request ends the program where it stands, with a word on how to go on.
pub(crate) fn ends_with(word: String) {
    let _ = ctrlc::set_handler(move || {
        terminal::note(&word);
        std::process::exit(i32::from(INTERRUPTED));
    });
}
