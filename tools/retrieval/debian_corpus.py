#!/usr/bin/env python3
"""Make a folder of French documents of Debian's own works, for `dyag chunk`.

    debian_corpus.py OUT [--packages FOLDER] [--manpages N]
    dyag chunk OUT/docs --output OUT/chunks.jsonl

Fetches the packages of WORKS with `apt-get download` (or takes the .deb files of --packages), unpacks them with dpkg-deb and keeps their French pages: HTML as it is, manual pages as Markdown,
N of them (120) by a seeded choice among commands and files of configuration. Writes OUT/docs/WORK/..., and OUT/works.json with versions and licences. The ids of chunks hang on names of files and on
the texts, so tools/retrieval/debian/questions.jsonl goes with the versions below; another one is noted. The works are not part of this repository; their licences are in
tools/retrieval/debian/README.md.
"""
import argparse
import gzip
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

# Package, version, folder of the French pages, pattern of their names.
WORKS = {
    "reference": ("debian-reference-fr", "2.100", "usr/share/debian-reference", r"\.fr\.html$"),
    "faq": ("debian-faq-fr", "11.1", "usr/share/doc/debian/FAQ/fr", r"\.html$"),
    "developpeurs": ("developers-reference-fr", "12.18", "usr/share/developers-reference/fr", r"^(?!genindex|search|developers-reference).*\.html$"),
    "responsable": ("maint-guide-fr", "1.2.53", "usr/share/doc/maint-guide-fr/html", r"\.html$"),
    "aptitude": ("aptitude-doc-fr", "0.8.13-5", "usr/share/doc/aptitude/html/fr", r"\.html$"),
    "installation": ("installation-guide-amd64", "20230508+deb12u1", "usr/share/doc/installation-guide-amd64/fr", r"^(?!apes?0?5|gpl).*\.html$"),
    "cahier": ("debian-handbook", "11.20220922", "usr/share/doc/debian-handbook/html/fr-FR", r"\.html$"),
    "manuel": ("manpages-fr", "4.18.1-1", "usr/share/man/fr", r"\.[158]\.gz$"),
}
# Pages of the manual that questions are made of (tools/retrieval/debian/); the others are chosen by chance.
WANTED = [
    "cat.1", "chmod.1", "chown.1", "cp.1", "cut.1", "date.1", "dd.1", "df.1", "du.1", "head.1", "ln.1", "ls.1", "mkdir.1", "mv.1", "rm.1", "sort.1", "stat.1", "tail.1", "tee.1", "touch.1", "tr.1",
    "uniq.1", "wc.1", "seq.1", "split.1", "nl.1", "paste.1", "shred.1", "timeout.1", "who.1", "uname.1", "install.1", "join.1", "fold.1", "csplit.1", "env.1", "id.1", "nice.1", "od.1", "pr.1",
]
SEED = 42
FRENCH = {"le", "la", "les", "des", "est", "une", "dans", "pour", "que", "qui", "du", "avec", "vous"}
ENGLISH = {"the", "of", "and", "is", "to", "in", "that", "for", "with", "you", "this", "are", "be"}


def is_french(html):
    """Whether more of a page's words are signs of French than of English: some pages of translated works are not translated yet."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"<(script|style|pre).*?</\1>|<[^>]*>", " ", html, flags=re.S).lower())
    return sum(word in FRENCH for word in words) > sum(word in ENGLISH for word in words)


def without_navigation(html):
    """A page without what leads to other pages: tables of DocBook, lists of Publican, bars of Sphinx."""
    for pattern in (r'<div[^>]*class="nav(header|footer)".*?</table>.*?</div>', r'<ul class="docnav.*?</ul>', r'<p id="title">.*?</p>', r'<div class="sphinxsidebar".*?(?=<div class="footer")', r'<div class="(related|footer)".*?</div>',
                    r'<div id="banner">.*?</div>',
                    r'<nav\b.*?</nav>', r'<div class="toc">.*?</d[li]v?>\s*</div>'):
        html = re.sub(pattern, "", html, flags=re.S)
    return html


def plain(text):
    """Marks of roff as Markdown."""
    text = re.sub(r"\\f\(?[BI]([^\\]*)\\f[RP]", r"**\1**", text)
    text = re.sub(r"\\f(\(..|.)", "", text)
    text = re.sub(r"\\s[+-]?\d", "", text)
    for mark, sign in [("\\-", "-"), ("\\(aq", "'"), ("\\(dq", '"'), ("\\(bu", "-"), ("\\(em", "—"), ("\\(en", "–"), ("\\(co", "©"), ("\\(oq", "'"), ("\\(cq", "'"), ("\\(Fo", "«"), ("\\(Fc", "»"),
                       ("\\(ga", "`"), ("\\(ha", "^"), ("\\(ti", "~"), ("\\&", ""), ("\\%", ""), ("\\/", ""), ("\\,", ""), ("\\|", ""), ("\\^", ""), ("\\ ", " "), ("\\~", " "), ("\\e", "\\"),
                       ("\\:", "")]:
        text = text.replace(mark, sign)
    text = re.sub(r"\\\((lq|rq)|\\\[(lq|rq|dq)\]", '"', text)
    text = re.sub(r"\\\[[^\]]*\]|\\\(..|\\\*\(..|\\\*\[[^\]]*\]|\\\*.?", "", text)
    return text.replace("****", "").replace("\u00a0", " ")


def arguments(line):
    return [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', line)]


def manual_page(source, name):
    """A manual page in Markdown: headings, tagged paragraphs as items `- **tag** : text`, blocks of code; none for a page in mdoc or with tables."""
    if re.search(r"^\.(Dd|TS|so)\b", source, re.M):
        return None
    out, text, tag, wants_tag, code = [f"# {name[:-2]}({name[-1]})", ""], [], None, False, None

    def flush():
        nonlocal text, tag
        body = " ".join(text).strip()
        if tag is None and body and out[-1].startswith("- "):
            out.append("")
        if tag is not None:
            out.append(f"- **{tag}** : {body}" if body else f"- **{tag}**")
        elif body:
            out.extend([body, ""])
        text, tag = [], None

    for line in source.splitlines():
        macro = re.match(r"[.'][ \t]*(\\\"|[A-Za-z]+)?[ \t]*(.*)", line)
        if not macro:
            words = plain(line).strip()
            if code is not None:
                code.append(plain(line).rstrip())
            elif wants_tag:
                tag, wants_tag = words.replace("**", ""), False
            elif words:
                text.append(words)
            elif tag is None:
                flush()
            continue
        request, rest = macro.groups()
        if request in ("nf", "EX"):
            flush()
            code = []
        elif request in ("fi", "EE") and code is not None:
            out.extend(["```", *code, "```", ""])
            code = None
        elif request in ("SH", "SS"):
            flush()
            out.extend(["", f"{'##' if request == 'SH' else '###'} {' '.join(map(plain, arguments(rest)))}", ""])
        elif request in ("TP", "TQ"):
            flush()
            wants_tag = True
        elif request == "IP":
            flush()
            tag = plain((arguments(rest) or ["-"])[0]).replace("**", "")
        elif request in ("PP", "P", "LP", "HP", "sp", "br"):
            if request != "br" or tag is None:
                flush()
        elif request in ("B", "I", "BR", "RB", "BI", "IB", "IR", "RI", "SM", "SB", "MT", "UR"):
            parts = [plain(part) for part in arguments(rest)]
            words = (" " if request in ("B", "I", "SM", "SB") else "").join(parts)
            if code is not None:
                code.append(words)
            elif wants_tag:
                tag, wants_tag = words.replace("**", ""), False
            else:
                text.append(f"**{parts[0]}**{''.join(parts[1:])}" if request in ("B", "BR", "BI") and len(parts) > 0 and request != "B" else f"**{words}**" if request == "B" else words)
    flush()
    return "\n".join(out).replace("\n\n\n", "\n\n").strip() + "\n"


def unpack(package, version, packages, folder):
    found = sorted(pathlib.Path(packages).glob(f"{package}_*.deb")) if packages else []
    if not found:
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        found = sorted(pathlib.Path(folder).glob(f"{package}_*.deb"))
    real = subprocess.run(["dpkg-deb", "-f", found[-1], "Version"], check=True, capture_output=True, text=True).stdout.strip()
    if real != version:
        print(f"{package}: version {real}; the questions were made with {version}, ids of chunks may differ", file=sys.stderr)
    target = pathlib.Path(folder) / package
    subprocess.run(["dpkg-deb", "-x", found[-1], target], check=True)
    return target, real


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--packages")
    parser.add_argument("--manpages", type=int, default=120)
    args = parser.parse_args()
    docs = pathlib.Path(args.out) / "docs"
    if docs.exists():
        shutil.rmtree(docs)
    works = {}
    with tempfile.TemporaryDirectory() as folder:
        for work, (package, version, place, pattern) in WORKS.items():
            root, real = unpack(package, version, args.packages, folder)
            files = sorted(file for file in (root / place).rglob("*") if file.is_file() and not file.is_symlink() and re.search(pattern, file.name))
            (docs / work).mkdir(parents=True)
            if work == "manuel":
                by_name = {file.name[:-3]: file for file in files}
                rest = sorted(set(by_name) - set(WANTED))
                random.Random(SEED).shuffle(rest)
                names = [name for name in WANTED if name in by_name] + rest
                n = 0
                for name in names:
                    page = manual_page(gzip.open(by_name[name], "rt", encoding="utf-8").read(), name)
                    if page and n < args.manpages:
                        (docs / work / f"{name}.md").write_text(page, encoding="utf-8")
                        n += 1
            else:
                for file in files:
                    html = without_navigation(file.read_text(encoding="utf-8", errors="replace"))
                    if is_french(html):
                        (docs / work / file.relative_to(root / place).as_posix().replace("/", "_")).write_text(html, encoding="utf-8")
            works[work] = {"package": package, "version": real, "documents": sum(1 for _ in (docs / work).iterdir())}
    (pathlib.Path(args.out) / "works.json").write_text(json.dumps(works, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(works, ensure_ascii=False))


if __name__ == "__main__":
    main()
