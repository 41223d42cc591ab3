use serde_json::json;

use super::*;

fn shown(value: Value) -> Vec<String> {
    let Value::Object(fields) = value else { panic!("an object") };
    let name = fields["Nom"].as_str().expect("a name").to_owned();
    let record = Record { id: fields["Id"].to_string(), name, state: None, fields };
    let mut shown = Vec::new();
    for part in parts(&record) {
        let mut text = format!("[{}]", part.chunk_type);
        for section in part.outline.sections {
            text.extend(section.heading.map(|heading| format!("\n{}", heading.line())));
            text.extend(section.blocks.iter().map(|block| format!("\n{}", block.text)));
        }
        shown.push(text);
    }
    shown
}

#[test]
fn known_and_unknown_fields() {
    let entry = json!({
        "Id": 4, "Nom": "A", "Nom long": "Alpha", "Statut SI": "Actif", "Descriptif": "Un.\n\nDeux.", "Note": "brève", "Vide": "", "Rien": [],
        "Domaines et sous-domaines": [{"Domaine métier": "Eau", "sous-domaine métier": "Rivières"}, {"Domaine métier": "Air"}],
        "Acteurs": [{"Rôle d'acteur": "MOA", "Acteur": "B"}, {"Rôle d'acteur": "MOA", "Acteur": "B"}, {"Acteur": "C", "Depuis": 2020}],
        "Hébergements": [{"Type de site": "Production", "Data center": "D"}],
        "Sites": [{"nature de l'URL": "Site", "URL": "https://example.invalid"}, "https://autre.invalid"],
        "Inconnu": {"a": 1, "b": {"c": [true, "x"]}}, "Mots": ["u", "v"]
    });
    let expected = [
        "[overview]\n# A\n**ID**: 4\n**Nom complet**: Alpha\n**Statut**: Actif",
        "[description]\n# A - Description\nUn.\n\nDeux.",
        "[technical]\n# A - Informations techniques\n**Note**: brève\n## Domaines métier\n- Domaine: Eau > Rivières\n- Domaine: Air\n## Acteurs\n- MOA: B\n\
         - Acteur: C (Depuis: 2020)\n## Hébergements\n- Production: D\n## Inconnu\n- a: 1\n  - b:\n    - c:\n      - oui\n      - x\n## Mots\n- u\n- v",
        "[sites]\n# A - Sites web\n- Site: https://example.invalid\n- Site: https://autre.invalid",
    ];
    assert_eq!(shown(entry), expected);
}

#[test]
fn an_entry_with_a_name_alone() {
    assert_eq!(shown(json!({"Id": 4, "Nom": "A"})), ["[overview]\n# A\n**ID**: 4"]);
}
