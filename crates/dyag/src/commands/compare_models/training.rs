//! The training sets of those compared: given, or found where results say they may be.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use dyag_eval::comparison::{Contestant, Training};
use dyag_text::dataset::TrainingSet;
use dyag_text::sha256_hex;

use crate::language::say;
use crate::terminal;

/// The training sets that were given, and those that results name and that lie beside the questions, the results, the adapter or here.
/// One that several learned from comes once. What is named and not found is told to the person.
pub(super) fn find(
    contestants: &[Contestant],
    files: &[(String, PathBuf)],
    given: Vec<(String, PathBuf)>,
) -> anyhow::Result<Vec<Training>> {
    let mut trainings: Vec<Training> = Vec::new();
    for (contestant, (_, results)) in contestants.iter().zip(files) {
        let asked = given.iter().find(|(name, _)| *name == contestant.name).map(|(_, path)| path.clone());
        let named = contestant.results.metadata.training_set.as_ref();
        let is_given = asked.is_some();
        let Some(path) = asked.or_else(|| named.and_then(|_| beside(contestant, results))) else {
            if let Some(file) = named {
                terminal::note(say!(
                    "note: {} was trained on {} (SHA-256 {}…), which is not beside its questions, results or adapter: whether training asked the questions is not known; say where it is with --training-set {}=FILE",
                    "note : {} a été entraîné sur {} (SHA-256 {}…), introuvable à côté de ses questions, de ses résultats et de son adaptateur : on ignore si l'entraînement a posé les questions ; dire où est ce fichier avec --training-set {}=FICHIER",
                    contestant.name,
                    file.name,
                    file.sha256.get(..12).unwrap_or(&file.sha256),
                    contestant.name
                ));
            }
            continue;
        };
        let set = TrainingSet::read(&path).with_context(|| format!("the training set of {}", contestant.name))?;
        if let Some(file) = named.filter(|file| is_given && file.sha256 != set.sha256) {
            terminal::note(say!(
                "note: {} is not the file that {} was trained on ({}): SHA-256 {} here, {} there",
                "note : {} n'est pas le fichier sur lequel {} a été entraîné ({}) : SHA-256 {} trouvé, {} attendu",
                path.display(),
                contestant.name,
                file.name,
                set.sha256,
                file.sha256
            ));
        }
        match trainings.iter_mut().find(|training| training.set.sha256 == set.sha256) {
            Some(training) => training.arms.push(contestant.name.clone()),
            None => {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                trainings.push(Training { arms: vec![contestant.name.clone()], name, set });
            }
        }
    }
    Ok(trainings)
}

/// The named file in one of the folders where it may be, with the named content.
fn beside(contestant: &Contestant, results: &Path) -> Option<PathBuf> {
    let metadata = &contestant.results.metadata;
    let named = metadata.training_set.as_ref()?;
    // A name from a file that somebody sent is a name, not a way to other folders.
    let name = Path::new(&named.name).file_name()?;
    let parent = |path: &Path| path.parent().map(Path::to_owned);
    let mut folders = vec![PathBuf::new()];
    folders.extend(metadata.dataset.as_deref().and_then(|dataset| parent(Path::new(dataset))));
    folders.extend(parent(results));
    let adapter = metadata.model.as_deref().map(Path::new);
    folders.extend(adapter.into_iter().flat_map(Path::ancestors).take(3).map(Path::to_owned));
    folders.into_iter().map(|folder| folder.join(name)).find(|path| {
        // Any file may stand under the name; only regular ones are read.
        path.is_file() && std::fs::read(path).is_ok_and(|bytes| sha256_hex(&bytes) == named.sha256)
    })
}
