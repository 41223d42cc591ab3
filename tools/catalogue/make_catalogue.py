#!/usr/bin/env python3
"""Make a catalogue of fictional applications, in French: any number of them, the same bytes for the same seed.

usage: make_catalogue.py FILE.json|FILE.md [--applications 10] [--seed 42] [--headings]

FILE.json   {"applications": [{"Id": ..., "Nom": ..., "Statut SI": ..., ...}, ...]}
FILE.md     a heading for each application; --headings writes "## Application: NOM" with labelled lines instead of sections

One application in twelve has a placeholder where its domain should be; a third has no description, half no site, some have hosting, events, actors, related data.
Names, addresses and people are invented. Needs Python alone.
"""
import argparse
import json
import random

BEGINNINGS = ["Alti", "Boré", "Calli", "Dora", "Élo", "Ferro", "Géo", "Hydro", "Isa", "Juri", "Kéla", "Litho", "Méri", "Nova", "Oro", "Pléa", "Quadri", "Rési", "Séma", "Terri", "Uni", "Véri", "Xylo", "Zéna"]
MIDDLES = ["", "ba", "cé", "di", "fo", "gra", "lu", "mé", "no", "pi", "ré", "sto", "ti", "va"]
ENDINGS = ["data", "dem", "flux", "gest", "info", "lien", "map", "net", "pilote", "plan", "registre", "suivi", "tour", "veille", "visa", "zen"]
OBJECTS = [
    ("des dossiers de raccordement", "les dossiers de raccordement"), ("des zones humides", "les zones humides"), ("des ouvrages d'art", "les ouvrages d'art"),
    ("des permis de navigation", "les permis de navigation"), ("des stations de mesure", "les stations de mesure"), ("du parc de véhicules", "le parc de véhicules"),
    ("des subventions aux communes", "les subventions aux communes"), ("des déchets de chantier", "les déchets de chantier"), ("des aides à la rénovation", "les aides à la rénovation"),
    ("des espèces protégées", "les espèces protégées"), ("des pistes cyclables", "les pistes cyclables"), ("des carrières", "les carrières"), ("du bruit ferroviaire", "le bruit ferroviaire"),
    ("des agréments d'auto-école", "les agréments d'auto-école"), ("des plans de prévention", "les plans de prévention"), ("des logements vacants", "les logements vacants"),
]
ACTIONS = [
    ("Suivi", "suivre"), ("Gestion", "gérer"), ("Inventaire", "inventorier"), ("Cartographie", "cartographier"), ("Contrôle", "contrôler"), ("Pilotage", "piloter"),
    ("Dématérialisation", "dématérialiser"), ("Observatoire", "observer"),
]
SCOPES = ["Nationale", "Régionale", "Départementale", "Européenne", "Locale"]
STATUSES = ["En production", "En construction", "En projet", "Retirée", "En refonte"]
DOMAINS = [
    ("Transports routiers", "Sécurité routière"), ("Biodiversité", "Conservation des espèces"), ("Eau, milieux aquatiques", "Qualité de l'eau"), ("Logement, habitat et construction", "Qualité de la construction"),
    ("Urbanisme, paysages", "Application du droit des sols"), ("Prévention des risques", "Risques naturels"), ("Énergie et climat", "Efficacité énergétique"), ("Mer et littoral", "Navigation"),
    ("Ressources humaines", None), ("Économie verte et solidaire", None),
]
OFFICES = ["DIRA", "SGEN", "DGOM", "CEVA", "BROM", "DTEL", "OPRA", "SCAD"]
HOSTS = ["Centre de Rivemont", "Nuage interne Ardoise", "Hébergeur Corail", "Salle du Val-Clair", "Plateforme Obsidienne"]
BENEFITS = ["de réduire les délais d'instruction", "de partager les données entre services", "d'éviter les doubles saisies", "de publier des statistiques chaque trimestre", "d'informer les usagers en ligne", "de préparer les contrôles sur place"]
USERS = ["agents des services déconcentrés", "bureaux d'études", "collectivités", "usagers", "opérateurs de l'État", "associations agréées"]
PLACEHOLDER = "***TEMPORAIRE***"


def elided(verb):
    return f"d'{verb}" if verb[0] in "aeiouéh" else f"de {verb}"


def office(rng):
    return "/".join([rng.choice(OFFICES), f"{rng.choice('ABCDEFGH')}{rng.randint(1, 9)}", f"B{rng.randint(1, 40)}"])


def application(rng, number, names):
    while True:
        name = rng.choice(BEGINNINGS) + rng.choice(MIDDLES) + rng.choice(ENDINGS)
        if rng.random() < 0.1:
            name += rng.choice([" 2", " Mobile", " Région", "'Pro", ".app"])
        if name not in names:
            break
        if len(names) > 3000:
            name = f"{name} {number}"
            break
    names.add(name)
    (action, verb), (of_what, what) = rng.choice(ACTIONS), rng.choice(OBJECTS)
    app = {"Id": number, "Nom": name}
    if rng.random() < 0.8:
        app["Nom long"] = f"{action} {of_what} ({office(rng).split('/')[0]})"
    app["Statut SI"] = rng.choice(STATUSES)
    if rng.random() < 0.7:
        app["Portée géographique"] = rng.choice(SCOPES)
    domain, subdomain = rng.choice(DOMAINS)
    entry = {"Domaine métier": PLACEHOLDER if rng.random() < 1 / 12 else domain}
    if subdomain and entry["Domaine métier"] != PLACEHOLDER and rng.random() < 0.6:
        entry["sous-domaine métier"] = subdomain
    app["Domaines et sous-domaines"] = [entry]
    if rng.random() < 0.67:
        benefits = rng.sample(BENEFITS, 2)
        text = f"{name} permet aux {rng.choice(USERS)} {elided(verb)} {what}. L'outil a pour but {benefits[0]} et {benefits[1]}."
        if rng.random() < 0.5:
            text += f"\n\nChaque mois, {rng.randint(40, 9000)} demandes y sont traitées par {rng.randint(3, 120)} agents. Les données sont conservées {rng.randint(2, 30)} ans."
        if rng.random() < 0.1:
            text += "\n\n" + " ".join(f"Le lot {i} comprend {rng.randint(2, 90)} fiches revues par {office(rng)}." for i in range(1, 40))
        app["Descriptif"] = text
    if rng.random() < 0.5:
        slug = "".join(c for c in name.lower() if c.isascii() and c.isalnum()) or f"app{number}"
        app["Sites"] = [{"nature de l'URL": "Site de production", "URL": f"https://{slug}-{number}.example/"}]
    if rng.random() < 0.4:
        app["Événements"] = [{"Date": f"{rng.randint(1, 28):02}/{rng.randint(1, 12):02}/{rng.randint(2003, 2025)}", "Type d'événement": "Mise en production"}]
    if rng.random() < 0.6:
        app["Acteurs"] = [{"Rôle d'acteur": "MOA", "Acteur": office(rng)} for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    if rng.random() < 0.3:
        app["Hébergements"] = [{"Type de site": "Production", "Data center": rng.choice(HOSTS)}]
    return app


def sections(app):
    lines = [f"# {app['Nom']}", ""]
    lines += [f"**Nom complet:** {app['Nom long']}"] if "Nom long" in app else []
    lines += [f"**ID:** {app['Id']}", f"**Statut:** {app['Statut SI']}"]
    lines += [f"**Portée géographique:** {app['Portée géographique']}"] if "Portée géographique" in app else []
    lines.append("")
    if "Descriptif" in app:
        lines += ["## Description", "", app["Descriptif"], ""]
    domain = app["Domaines et sous-domaines"][0]
    lines += ["## Domaines métier", "", "- " + " > ".join(domain.values()), ""]
    if "Sites" in app:
        lines += ["## Sites web", "", f"- [Site]({app['Sites'][0]['URL']})", ""]
    if "Événements" in app:
        lines += ["## Événements", "", f"- **{app['Événements'][0]['Date']}** : Mise en production", ""]
    if "Acteurs" in app:
        lines += ["## Acteurs", ""] + [f"- {actor['Acteur']}" for actor in app["Acteurs"]] + [""]
    if "Hébergements" in app:
        lines += ["## Hébergements", "", f"- {app['Hébergements'][0]['Data center']}", ""]
    return lines


def labelled(app):
    lines = [f"## Application: {app['Nom']}", f"    # Application d'identifiant: {app['Id']}"]
    for key, value in app.items():
        if key == "Id":
            continue
        if isinstance(value, str):
            lines.append(f"- {key}: {value}")
            continue
        lines.append(f"- {key}:")
        for entry in value:
            mark = "    - "
            for label, text in entry.items():
                lines.append(f"{mark}{label}: {text}")
                mark = "      "
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--applications", type=int, default=10)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--headings", action="store_true", help="Markdown with labelled lines instead of sections")
    o = parser.parse_args()
    rng, names = random.Random(o.seed), set()
    apps = [application(rng, number, names) for number in range(1, o.applications + 1)]
    if o.file.endswith(".json"):
        text = json.dumps({"applications": apps}, ensure_ascii=False, indent=1) + "\n"
    elif o.file.endswith(".md"):
        lines = ["# Catalogue des applications", ""]
        for app in apps:
            lines += labelled(app) if o.headings else sections(app)
        text = "\n".join(lines).rstrip() + "\n"
    else:
        parser.error(f"expected a file that ends with .json or .md, found {o.file}")
    with open(o.file, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
