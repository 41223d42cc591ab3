#!/usr/bin/env python3
"""Make catalogues of invented applications in French and English: names and values that stand nowhere else, so that a model that learns from them learns to read and not to remember.

usage: make_catalogues.py OUT [--applications 2000] [--seed 1] [--avoid FILE.md ...]

Writes OUT/fr.md and OUT/en.md. Names are syllables by chance, some with a word of the lists at their end; values are words of short lists, or phrases of such words and of invented ones, which nobody could guess who did
not read them. Names of the catalogues given with --avoid are never made. The same bytes for the same seed. Needs Python alone.
"""
import argparse
import pathlib
import random
import re

ONSETS = ["b", "c", "ch", "d", "f", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pl", "qu", "r", "s", "st", "t", "tr", "v", "vr", "w", "x", "y", "z", "br", "cl", "dr", "fl", "gu", "ph", "sp", "th"]
VOWELS = {"fr": ["a", "e", "i", "o", "u", "é", "è", "ou", "ai", "au", "eu", "oi", "y", "â", "ê", "ô"], "en": ["a", "e", "i", "o", "u", "ee", "oo", "ai", "ea", "ou", "y"]}
CODAS = ["", "", "", "", "l", "n", "r", "s", "t", "x", "m", "nd", "rt", "c"]
TAILS = ["", "", "", "", "", "", " 2", " 3", " Mobile", " Plus", "-Web", ".app", " Pro"]

WORDS = {
    "fr": {
        "labels": ["Nom complet", "ID", "Statut", "Portée géographique"],
        "sections": ["Description", "Domaines métier", "Sites web", "Événements", "Acteurs", "Hébergements"],
        "title": "Catalogue des applications",
        "statuses": ["En production", "En construction", "En projet", "Retirée", "En refonte", "En recette", "En pilote", "Suspendue", "À l'étude", "Archivée", "En maintenance", "En déploiement", "Fermée", "En test"],
        "scopes": ["Nationale", "Régionale", "Départementale", "Européenne", "Locale", "Communale", "Internationale", "Interrégionale", "Ultramarine", "Frontalière"],
        "objects": ["dossiers", "zones humides", "ouvrages d'art", "permis", "stations", "véhicules", "subventions", "déchets", "aides", "espèces", "pistes cyclables", "carrières", "agréments", "plans", "logements", "forêts", "ports", "ponts", "barrages", "tunnels", "écoles", "contrats", "marchés", "factures", "congés", "formations", "alertes", "enquêtes", "cartes", "capteurs", "sols", "rivières", "récoltes", "navires", "avions", "trains", "bus", "péages", "musées", "archives"],
        "actions": ["Suivi", "Gestion", "Inventaire", "Cartographie", "Contrôle", "Pilotage", "Dématérialisation", "Observatoire", "Registre", "Annuaire", "Portail", "Calcul", "Analyse", "Partage", "Mesure", "Planification"],
        "of": "des",
        "domains": ["Transports", "Biodiversité", "Eau", "Logement", "Urbanisme", "Risques", "Énergie", "Mer", "Ressources humaines", "Économie", "Climat", "Forêt", "Agriculture", "Culture", "Santé", "Sécurité", "Tourisme", "Finances", "Recherche", "Éducation"],
        "subdomains": ["Sécurité routière", "Conservation", "Qualité de l'eau", "Construction", "Droit des sols", "Risques naturels", "Efficacité", "Navigation", "Carrières", "Statistiques", "Pêche", "Prévention", "Aides", "Contrôles", "Données", "Inspection", "Études", "Réseaux", "Bruit", "Air"],
        "verbs": ["suivre", "gérer", "recenser", "contrôler", "piloter", "observer", "partager", "mesurer", "planifier", "publier", "déclarer", "instruire", "comparer", "préparer", "archiver"],
        "users": ["agents", "bureaux d'études", "communes", "usagers", "opérateurs", "associations", "inspecteurs", "chercheurs", "entreprises", "élèves", "médecins", "pêcheurs"],
        "sentence": "{name} permet aux {users} de {verb} les {objects}.", "goal": "L'outil a pour but de {verb} les {objects}.",
        "joints": [" ", " et ", " de ", ", ", " du ", " des ", " à la ", " > "], "of_place": "du ",
        "host": ["Centre", "Nuage", "Salle", "Plateforme", "Serveur", "Hébergeur"],
        "event": "Mise en production", "events": ["Mise en production", "Mise en production", "Ouverture", "Audit", "Refonte"], "site": "Site", "date": "{d:02}/{m:02}/{y}",
    },
    "en": {
        "labels": ["Full name", "ID", "Status", "Geographic scope"],
        "sections": ["Description", "Business domains", "Websites", "Events", "Actors", "Hosting"],
        "title": "Catalogue of applications",
        "statuses": ["Live", "In construction", "Planned", "Retired", "In redesign", "In acceptance", "In pilot", "Suspended", "Under study", "Archived", "In maintenance", "In rollout", "Closed", "In test"],
        "scopes": ["National", "Regional", "County", "European", "Local", "Municipal", "International", "Interregional", "Overseas", "Border"],
        "objects": ["files", "wetlands", "bridges", "permits", "stations", "vehicles", "grants", "waste", "aids", "species", "cycle paths", "quarries", "licences", "plans", "homes", "forests", "ports", "dams", "tunnels", "schools", "contracts", "tenders", "invoices", "leave", "courses", "alerts", "surveys", "maps", "sensors", "soils", "rivers", "harvests", "ships", "planes", "trains", "buses", "tolls", "museums", "archives"],
        "actions": ["Tracking", "Management", "Inventory", "Mapping", "Control", "Steering", "Digitisation", "Observatory", "Register", "Directory", "Portal", "Computation", "Analysis", "Sharing", "Measurement", "Planning"],
        "of": "of",
        "domains": ["Transport", "Biodiversity", "Water", "Housing", "Planning", "Risks", "Energy", "Sea", "Human resources", "Economy", "Climate", "Forest", "Agriculture", "Culture", "Health", "Safety", "Tourism", "Finance", "Research", "Education"],
        "subdomains": ["Road safety", "Conservation", "Water quality", "Construction", "Land law", "Natural risks", "Efficiency", "Navigation", "Careers", "Statistics", "Fishing", "Prevention", "Aids", "Checks", "Data", "Inspection", "Studies", "Networks", "Noise", "Air"],
        "verbs": ["track", "manage", "count", "check", "steer", "watch", "share", "measure", "plan", "publish", "declare", "examine", "compare", "prepare", "archive"],
        "users": ["officers", "engineers", "towns", "users", "operators", "charities", "inspectors", "researchers", "companies", "pupils", "doctors", "fishers"],
        "sentence": "{name} lets {users} {verb} {objects}.", "goal": "The tool is there to {verb} {objects}.",
        "joints": [" ", " and ", " of ", ", ", " for ", " in the ", " > "], "of_place": "of ",
        "host": ["Centre", "Cloud", "Hall", "Platform", "Server", "Host"],
        "event": "Go-live", "events": ["Go-live", "Go-live", "Opening", "Audit", "Redesign"], "site": "Site", "date": "{d:02}/{m:02}/{y}",
    },
}


def syllable(rng, language):
    return rng.choice(ONSETS) + rng.choice(VOWELS[language]) + rng.choice(CODAS)


def invented(rng, language, fewest=2, most=4):
    word = "".join(syllable(rng, language) for _ in range(rng.randint(fewest, most)))
    return word[0].upper() + word[1:]


def acronym(rng):
    return "".join(rng.choice("ABCDEFGHIJKLMNOPRSTUVWZ") for _ in range(rng.randint(3, 5)))


def office(rng):
    return "/".join([acronym(rng), f"{rng.choice('ABCDEFGH')}{rng.randint(1, 9)}", f"B{rng.randint(1, 99)}"][: rng.randint(2, 3)])


def pool(language):
    """Single words of the lists, in lower case: what phrases and ends of names are made of."""
    w = WORDS[language]
    phrases = [text for key in ("objects", "actions", "domains", "subdomains", "users") for text in w[key]]
    return sorted({word.lower() for phrase in phrases for word in phrase.split() if len(word) > 3 and "'" not in word})


POOLS = {language: pool(language) for language in WORDS}


def phrase(rng, language, most=4):
    """One to `most` words, known or invented, with joints between them: "Récoltes et vralo, pistes de gaichén"."""
    word = lambda: rng.choice(POOLS[language]) if rng.random() < 0.5 else invented(rng, language, 1, 3).lower()
    text = word()
    for _ in range(rng.randint(0, most - 1)):
        text += rng.choice(WORDS[language]["joints"]) + word()
    return text[0].upper() + text[1:]


def one_of(rng, language, words):
    """One of the words, or something that is in no list."""
    return rng.choice(words) if rng.random() < 0.55 else phrase(rng, language)


def application_name(rng, language):
    end = rng.choice(POOLS[language]) if rng.random() < 0.25 else ""
    return invented(rng, language, 1 if end else 2) + end + rng.choice(TAILS)


def place(rng, language):
    joint = WORDS[language]["of_place"] if rng.random() < 0.3 else ""
    return joint + "-".join(invented(rng, language, 1, 3) for _ in range(rng.choice([1, 1, 2])))


def sections(rng, language, name):
    """The optional parts of an application: a heading and its lines."""
    w = WORDS[language]
    description, domains, sites, events, actors, hosting = w["sections"]
    subdomain = f" > {one_of(rng, language, w['subdomains'])}" if rng.random() < 0.5 else ""
    users, objects = (one_of(rng, language, w[key]).lower() for key in ("users", "objects"))
    text = w["sentence"].format(name=name, users=users, verb=rng.choice(w["verbs"]), objects=objects)
    if rng.random() < 0.4:
        text += " " + w["goal"].format(verb=rng.choice(w["verbs"]), objects=one_of(rng, language, w["objects"]).lower())
    slug = re.sub(r"[^a-z0-9]+", "", name.lower())
    parts = [
        (0.5, f"## {description}", [text]),
        (0.6, f"## {domains}", [f"- {one_of(rng, language, w['domains'])}{subdomain}"]),
        (0.35, f"## {sites}", [f"- [{w['site']}](https://{slug}{rng.randint(1, 99)}.example/)"]),
        (0.45, f"## {events}", [f"- **{w['date'].format(d=rng.randint(1, 28), m=rng.randint(1, 12), y=rng.randint(1995, 2026))}** : {rng.choice(w['events'])}"]),
        (0.45, f"## {actors}", [f"- {office(rng)}" for _ in range(rng.choice([1, 1, 2, 3]))]),
        (0.45, f"## {hosting}", [f"- {rng.choice(w['host'])} {place(rng, language)}"]),
    ]
    return [(heading, lines) for share, heading, lines in parts if rng.random() < share]


def application(rng, language, name):
    w = WORDS[language]
    full, number, status, scope = w["labels"]
    title = f"{one_of(rng, language, w['actions'])} {w['of']} {one_of(rng, language, w['objects']).lower()}" + (f" ({acronym(rng)})" if rng.random() < 0.5 else "")
    head = [
        (0.7, f"**{full}:** {title}"), (0.8, f"**{number}:** {rng.randint(1, 9999)}"),
        (0.85, f"**{status}:** {one_of(rng, language, w['statuses'])}"), (0.7, f"**{scope}:** {one_of(rng, language, w['scopes'])}"),
    ]
    lines = [f"# {name}", "", *[line for share, line in head if rng.random() < share], ""]
    for heading, content in sections(rng, language, name):
        lines += [heading, "", *content, ""]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--applications", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--avoid", nargs="*", default=[])
    args = parser.parse_args()
    avoided = {line[2:].strip().lower() for file in args.avoid for line in open(file, encoding="utf-8") if line.startswith("# ")}
    args.out.mkdir(parents=True, exist_ok=True)
    for language in WORDS:
        rng, names, lines = random.Random(f"{args.seed} {language}"), set(), [f"# {WORDS[language]['title']}", ""]
        while len(names) < args.applications:
            name = application_name(rng, language)
            if name.lower() in names | avoided:
                continue
            names.add(name.lower())
            lines += application(rng, language, name)
        (args.out / f"{language}.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
