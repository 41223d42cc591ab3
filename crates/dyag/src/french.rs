//! The first page of the help in French: what the program and each command is for. The help of flags stays English.

/// Each command with what it is for.
const COMMANDS: [(&str, &str); 27] = [
    (
        "demo",
        "Montrer tout le chemin sur des documents inventés, ou sur les vôtres : passages, questions, index, entraînement, réponses, comparaison",
    ),
    ("chunk", "Découper des documents en passages : la matière des jeux de données et des recherches"),
    ("generate-training", "Faire un jeu d'entraînement à partir de passages de documents"),
    ("generate-questions", "Faire un jeu de questions à partir d'un catalogue"),
    ("rules", "Afficher les règles qui trouvent les faits et posent les questions, à copier et à modifier"),
    ("finetune", "Entraîner un adaptateur pour un modèle, ou tous ses poids, sur un fichier de conversations"),
    ("query-finetuned", "Poser une question à un modèle affiné, ou tenir une conversation avec lui"),
    ("index-rag", "Faire une collection de passages où l'on cherche par mots et par vecteurs"),
    ("rag-stats", "Montrer ce que contient une collection"),
    ("query-rag", "Poser une question à laquelle répondent des passages d'une collection"),
    ("ask", "Poser une question au modèle de base, avec passages, au modèle affiné, ou à tous deux ensemble"),
    ("add-passages", "Donner aux exemples d'un jeu d'entraînement les passages qu'une recherche trouve pour eux"),
    ("create-eval-set", "Faire des questions sur une collection, chacune avec les passages qui portent sa réponse"),
    ("evaluate-rag", "Poser à un modèle les questions d'un jeu avec les passages trouvés, et noter réponses et recherche"),
    ("evaluate-finetuned", "Poser à un modèle les questions d'un jeu, et noter ses réponses"),
    ("compare-models", "Comparer des évaluations des mêmes questions : ce qui est meilleur, là où cela se montre"),
    ("benchmark", "Poser à un modèle les questions d'épreuves courantes : le plus probable de plusieurs choix, ou un texte"),
    ("merge-lora", "Fondre un adaptateur dans sa base : un modèle à part entière, en dossier Hugging Face"),
    ("export-gguf", "Écrire un modèle, fondu ou non avec un adaptateur, ou un adaptateur seul, en GGUF pour llama.cpp et Ollama"),
    ("check", "Recalculer un relevé de référence (logits, perte, gradients, pas, jetons) et comparer"),
    ("inspect", "Montrer ce que contient un modèle, un adaptateur, des passages ou un jeu ; vérifier un jeu"),
    ("models", "Lister, télécharger, décrire et supprimer des modèles par leur nom"),
    ("bench", "Mesurer la machine, et les produits, l'entraînement et l'écriture d'un modèle sur elle"),
    ("doctor", "Examiner cette machine : ce que dyag peut y faire, à quelle vitesse, et ce qui l'en empêche"),
    ("completions", "Afficher les complétions d'un interpréteur de commandes"),
    ("man", "Écrire les pages de manuel, une par commande"),
    ("help", "Afficher cette aide ou celle de la commande nommée"),
];

const EVERYWHERE: [(&str, &str); 6] = [
    ("quiet", "Ni progression ni notes ; les erreurs, et la raison d'un « non », restent"),
    ("lang", "Langue de ce qui est affiché ; sans elle, celle de LC_ALL, LC_MESSAGES ou LANG"),
    ("settings", "Fichier de réglages, au lieu de dyag.toml dans le dossier de travail"),
    ("show_config", "Afficher les valeurs que la commande prendrait et d'où vient chacune, sans rien faire"),
    ("help", "Afficher l'aide (résumée avec « -h »)"),
    ("version", "Afficher la version"),
];

/// The same command line with its first page in French.
pub(crate) fn translate(mut command: clap::Command) -> clap::Command {
    command.build();
    command = command
        .about("Affiner un petit modèle de langue sur des documents privés, hors ligne, et lui poser des questions.")
        .long_about(
            "Affiner un petit modèle de langue sur des documents privés, hors ligne, et lui poser des questions.\n\n\
             État de sortie : 0 fait, 1 un « non » légitime (une vérification manquée), 2 une erreur.\n\
             L'aide des options de chaque commande est en anglais.",
        )
        .subcommand_help_heading("Commandes")
        .help_template("{about-with-newline}\nUsage : {usage}\n\n{all-args}{after-help}");
    let of = |table: &[(&str, &'static str)], name: &str| table.iter().find(|(other, _)| *other == name).map(|(_, text)| *text);
    command
        .mut_subcommands(|command| match of(&COMMANDS, command.get_name()) {
            Some(about) => command.about(about),
            None => command,
        })
        .mut_args(|argument| match of(&EVERYWHERE, argument.get_id().as_str()) {
            Some(help) => {
                let is_own = matches!(argument.get_id().as_str(), "help" | "version");
                argument.help(help).long_help(help).help_heading(if is_own { "Options" } else { "Options de toutes les commandes" })
            }
            None => argument,
        })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_is_there_in_french() {
        let mut command = crate::cli::Cli::command();
        command.build();
        let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, COMMANDS.map(|(name, _)| name));
        let ids: Vec<&str> = command.get_arguments().map(|argument| argument.get_id().as_str()).collect();
        assert_eq!(ids, EVERYWHERE.map(|(id, _)| id));
    }

    #[test]
    fn the_translated_command_line_is_sound() {
        translate(crate::cli::command(crate::language::Language::English)).debug_assert();
    }
}
